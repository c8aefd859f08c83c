// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/update_terms.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Memory and order of the backends whose memory the host reads and whose primitives return when their work is done.

namespace lockstep::host {

/// One value that both sides share.
template <class T>
class mirrored {
 public:
  template <class Context>
  explicit mirrored(Context&) {}

  [[nodiscard]] T& host() noexcept { return value_; }
  [[nodiscard]] T* get() noexcept { return &value_; }
  template <class Context>
  void send(Context&) noexcept {}
  template <class Context>
  void fetch(Context&) noexcept {}

 private:
  T value_{};
};

/// Does nothing: a primitive returns when its work is done, so that there is nothing to wait for.
struct fence {
  template <class Context>
  explicit fence(Context&) {}
  template <class Context>
  void record(Context&) noexcept {}
  template <class Context>
  void hold(Context&) const noexcept {}
};

/// Base of a backend whose memory the host reads and whose primitives return when their work is done.
template <class Context>
struct synchronous {
  static constexpr bool host_memory = true;

  template <class T>
  using buffer = aligned_buffer<T>;
  template <class T>
  using mirrored = host::mirrored<T>;
  using fence = host::fence;

  template <class T>
  [[nodiscard]] static aligned_buffer<T> allocate(Context&, std::int64_t n) {
    return aligned_buffer<T>(n);
  }
  template <class T>
  static void copy_in(Context&, std::int64_t n, const T* from, T* to) {
    std::copy_n(from, n, to);
  }
  template <class T>
  static void copy_out(Context&, std::int64_t n, const T* from, T* to) {
    std::copy_n(from, n, to);
  }
  template <class T>
  static void copy(Context&, std::int64_t n, const T* from, T* to) {
    std::copy_n(from, n, to);
  }
  template <class T>
  static void clear(Context&, std::int64_t n, T* to) {
    std::fill_n(to, n, T{});
  }
  static void finish(Context&) noexcept {}
  template <class F>
  static void replay(Context&, std::uint64_t, F&& f) {
    f();
  }
  static void forget(Context&) noexcept {}

  /// Computes from the sums of squares of all blocks the norm, and the factor of torch.nn.utils.clip_grad_norm_. If the
  /// norm is NaN, so are the factor and every gradient it multiplies.
  static void gradient_norm(Context&, std::int64_t blocks, const double* squares, double max_norm, update_terms* out) {
    double total = 0;
    for (std::int64_t k = 0; k < blocks; ++k) total += squares[k];
    const double norm = std::sqrt(total);
    *out = {.norm = norm,
            .scale = norm <= max_norm ? 1.0 : max_norm / (norm + 1e-6),
            .finite = std::isfinite(norm) ? 1 : 0};
  }
};

}  // namespace lockstep::host
