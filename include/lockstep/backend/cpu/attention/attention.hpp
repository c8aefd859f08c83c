// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/attention_mask.hpp>
#include <lockstep/backend/cpu/attention/backward.hpp>
#include <lockstep/backend/cpu/attention/forward.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/host_attention.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

/// See host::attend, and host::attend_backward. Never holds more of a head's scores than a tile; keeps for backward the
/// logarithm of each query's sum. The geometry is a value, so that layers share this code.
class attention_passes {
 public:
  attention_passes(context& c, const attention_geometry& g, std::int64_t samples, double scale)
      : g_(g), samples_(samples), scale_(scale), log_sums_(samples * g.heads * g.queries) {
    if (has_avx2())
      static_cast<void>(c.workspace((std::max)(flash::forward_room(g), flash::backward_room(g))));
    else
      scratch_ = aligned_buffer<double>(host::attention_scratch(g));
  }
  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context& c, const attention_arguments& a, const float* q, const float* k, const float* v, float* y) {
    if (!has_avx2()) return host::attend(g_, scale_, samples_, a, q, k, v, y, scratch_.data());
    float* const workspace = c.workspace(flash::forward_room(g_));
    each_head(a, [&]<class V>(std::type_identity<V>, std::int64_t s, std::int64_t h, std::int64_t length,
                              const attention_mask* mask, float* log_sums) {
      float* const to = host::head_of_row(g_, g_.y, y, s, h, 0);
      if (length == 0) return clear(g_.y, g_.queries, to);
      flash::forward_head<V>(g_, static_cast<float>(scale_), length, mask, h, host::head_of_row(g_, g_.q, q, s, h, 0),
                             host::head_of_row(g_, g_.k, k, s, h, 0), host::head_of_row(g_, g_.v, v, s, h, 0), to,
                             log_sums, workspace);
    });
  }

  /// dq, dk and dv may be q, k and v.
  void backward(context& c, const attention_arguments& a, const float* q, const float* k, const float* v,
                const float* y, const float* dy, float* dq, float* dk, float* dv) {
    if (!has_avx2()) return host::attend_backward(g_, scale_, samples_, a, q, k, v, dy, dq, dk, dv, scratch_.data());
    float* const workspace = c.workspace(flash::backward_room(g_));
    each_head(a, [&]<class V>(std::type_identity<V>, std::int64_t s, std::int64_t h, std::int64_t length,
                              const attention_mask* mask, const float* log_sums) {
      const flash::backward_arrays of{.q = host::head_of_row(g_, g_.q, q, s, h, 0),
                                      .k = host::head_of_row(g_, g_.k, k, s, h, 0),
                                      .v = host::head_of_row(g_, g_.v, v, s, h, 0),
                                      .y = host::head_of_row(g_, g_.y, y, s, h, 0),
                                      .dy = host::head_of_row(g_, g_.y, dy, s, h, 0),
                                      .dq = host::head_of_row(g_, g_.q, dq, s, h, 0),
                                      .dk = host::head_of_row(g_, g_.k, dk, s, h, 0),
                                      .dv = host::head_of_row(g_, g_.v, dv, s, h, 0)};
      if (length == 0) {
        clear(g_.q, g_.queries, of.dq);
        clear(g_.k, g_.keys, of.dk);
        return clear(g_.v, g_.keys, of.dv);
      }
      flash::backward_head<V>(g_, static_cast<float>(scale_), length, mask, h, of, log_sums, workspace);
    });
  }

 private:
  /// Calls f(type of vectors, sample, head, keys that count, dropout's mask or null, the head's logarithms).
  template <class F>
  void each_head(const attention_arguments& a, const F& f) {
    with_widest([&]<class V>(std::type_identity<V> vectors) {
      for (std::int64_t s = 0; s < samples_; ++s) {
        std::optional<attention_mask> mask;
        if (a.dropout != nullptr) mask.emplace(g_, *a.dropout, s);
        for (std::int64_t h = 0; h < g_.heads; ++h)
          f(vectors, s, h, a.length(g_, s), mask ? &*mask : nullptr,
            log_sums_.data() + (s * g_.heads + h) * g_.queries);
      }
    });
  }

  void clear(const attention_rows& rows, std::int64_t count, float* first) const {
    for (std::int64_t i = 0; i < count; ++i) std::fill_n(first + i * rows.row, g_.width, 0.F);
  }

  attention_geometry g_;
  std::int64_t samples_;
  double scale_;
  aligned_buffer<float> log_sums_;
  aligned_buffer<double> scratch_;  ///< where the vector kernels do not run
};

template <attention_geometry G>
class attention : public attention_passes {
 public:
  attention(context& c, std::int64_t samples, double scale) : attention_passes(c, G, samples, scale) {}

  [[nodiscard]] static constexpr std::int64_t kept_bytes(std::int64_t samples) {
    return samples * G.heads * G.queries * static_cast<std::int64_t>(sizeof(float));
  }
};

}  // namespace lockstep::cpu_backend
