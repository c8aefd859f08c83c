// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/reference/context.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::reference_backend {

/// Pooling by its definition; pictures in plain order.
template <class T, pooling_geometry G>
class pooling {
 public:
  pooling(context&, std::int64_t samples)
      : samples_(samples), winner_(G.kind == pooling_kind::maximum ? samples * G.out_size() : 0) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context&, const T* x, T* y) {
    each_window([&](std::int64_t plane, std::int64_t out, std::int64_t top, std::int64_t left) {
      T best = -std::numeric_limits<T>::infinity();
      T sum{0};
      std::int64_t best_at = -1;
      each_inside(top, left, [&](std::int64_t at) {
        const T v = x[plane + at];
        sum += v;
        if (best_at < 0 || v > best || v != v) {  // a NaN wins, as in PyTorch
          best = v;
          best_at = plane + at;
        }
      });
      if constexpr (G.kind == pooling_kind::maximum) {
        y[out] = best;
        winner_.data()[out] = best_at;
      } else {
        y[out] = sum / divisor(top, left);
      }
    });
  }

  void backward(context&, const T* dy, T* dx) {
    std::fill_n(dx, samples_ * G.in_size(), T{0});
    each_window([&](std::int64_t plane, std::int64_t out, std::int64_t top, std::int64_t left) {
      if constexpr (G.kind == pooling_kind::maximum)
        dx[winner_.data()[out]] += dy[out];
      else
        each_inside(top, left, [&](std::int64_t at) { dx[plane + at] += dy[out] / divisor(top, left); });
    });
  }

 private:
  template <class F>
  void each_window(const F& f) const {
    for (std::int64_t p = 0; p < samples_ * G.channels; ++p)
      for (std::int64_t h = 0; h < G.out().height; ++h)
        for (std::int64_t w = 0; w < G.out().width; ++w)
          f(p * G.in.height * G.in.width, (p * G.out().height + h) * G.out().width + w,
            h * G.stride.height - G.padding.height, w * G.stride.width - G.padding.width);
  }

  template <class F>
  static void each_inside(std::int64_t top, std::int64_t left, const F& f) {
    for (std::int64_t h = std::max<std::int64_t>(top, 0); h < (std::min)(top + G.kernel.height, G.in.height); ++h)
      for (std::int64_t w = std::max<std::int64_t>(left, 0); w < (std::min)(left + G.kernel.width, G.in.width); ++w)
        f(h * G.in.width + w);
  }

  static T divisor(std::int64_t top, std::int64_t left) {
    if constexpr (G.kind == pooling_kind::average_include_padding)
      return static_cast<T>(G.kernel.height * G.kernel.width);
    std::int64_t count = 0;
    each_inside(top, left, [&](std::int64_t) { ++count; });
    return static_cast<T>(count);
  }

  std::int64_t samples_;
  aligned_buffer<std::int64_t> winner_;
};

}  // namespace lockstep::reference_backend
