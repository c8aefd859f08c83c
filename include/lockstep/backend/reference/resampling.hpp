// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/reference/context.hpp>
#include <lockstep/backend/resampling.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::reference_backend {

/// Resampling by its definition, with sums in T; pictures in plain order.
template <class T, class A, resampling_geometry G>
class resampling {
 public:
  resampling(context&, std::int64_t samples)
      : samples_(samples), sums_(samples * (std::max)(G.in_size(), G.out_size())) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context&, const A* x, A* y) {
    T* sums = sums_.data();
    std::fill_n(sums, samples_ * G.out_size(), T{0});
    each_tap([&](std::int64_t in, std::int64_t out, T weight) { sums[out] += weight * T{x[in]}; });
    for (std::int64_t i = 0; i < samples_ * G.out_size(); ++i) y[i] = static_cast<A>(sums[i]);
  }

  void backward(context&, const A* dy, A* dx) {
    T* sums = sums_.data();
    std::fill_n(sums, samples_ * G.in_size(), T{0});
    each_tap([&](std::int64_t in, std::int64_t out, T weight) { sums[in] += weight * T{dy[out]}; });
    for (std::int64_t i = 0; i < samples_ * G.in_size(); ++i) dx[i] = static_cast<A>(sums[i]);
  }

 private:
  /// Calls f(input index, output index, weight).
  template <class F>
  void each_tap(const F& f) const {
    for (std::int64_t plane = 0; plane < samples_ * G.channels; ++plane)
      for (std::int64_t oh = 0; oh < G.out.height; ++oh)
        for (std::int64_t ow = 0; ow < G.out.width; ++ow)
          for_each_tap(G.kind, G.in.height, G.out.height, oh, [&](std::int64_t ih, double by_row) {
            for_each_tap(G.kind, G.in.width, G.out.width, ow, [&](std::int64_t iw, double by_column) {
              f((plane * G.in.height + ih) * G.in.width + iw, (plane * G.out.height + oh) * G.out.width + ow,
                static_cast<T>(by_row * by_column));
            });
          });
  }

  std::int64_t samples_;
  aligned_buffer<T> sums_;  ///< outputs or gradients in progress
};

}  // namespace lockstep::reference_backend
