// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/reference/context.hpp>
#include <lockstep/backend/reference/tap_gradients.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::reference_backend {

/// Convolution by its definition, in seven nested loops; pictures and weights in PyTorch's order.
template <class T, class A, convolution_geometry G>
class convolution {
 public:
  convolution(context&, std::int64_t samples) : samples_(samples), sums_(G.weight_size() + G.out_channels) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  /// Position of PyTorch's weight[o][i][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i, std::int64_t h,
                                                            std::int64_t w) {
    return ((o * (G.in_channels / G.groups) + i) * G.kernel.height + h) * G.kernel.width + w;
  }

  void forward(context&, const A* x, const A* w, const A* b, A* y) const {
    for (std::int64_t i = 0; i < samples_ * G.out_size(); ++i) y[i] = G.bias ? b[out_channel<G>(i)] : A{0};
    each_tap([&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { y[yi] += x[xi] * w[wi]; });
    if constexpr (G.relu)
      for (std::int64_t i = 0; i < samples_ * G.out_size(); ++i) y[i] = (std::max)(y[i], A{0});
  }

  void backward(context&, const A* x, const A* dy, const A* w, A* dx, T* dw, T* db, bool accumulate) {
    tap_gradients<G>(
        samples_, [&](const auto& f) { each_tap(f); }, x, dy, w, dx, dw, db, accumulate, sums_);
  }

 private:
  /// Calls f(input index, weight index, output index) for every product of the convolution.
  template <class F>
  void each_tap(const F& f) const {
    constexpr std::int64_t in_group = G.in_channels / G.groups;
    constexpr std::int64_t out_group = G.out_channels / G.groups;
    for (std::int64_t s = 0; s < samples_; ++s)
      for (std::int64_t oc = 0; oc < G.out_channels; ++oc)
        for (std::int64_t oh = 0; oh < G.out().height; ++oh)
          for (std::int64_t ow = 0; ow < G.out().width; ++ow)
            for (std::int64_t ic = 0; ic < in_group; ++ic)
              for (std::int64_t kh = 0; kh < G.kernel.height; ++kh)
                for (std::int64_t kw = 0; kw < G.kernel.width; ++kw) {
                  const std::int64_t h = oh * G.stride.height - G.padding.height + kh * G.dilation.height;
                  const std::int64_t v = ow * G.stride.width - G.padding.width + kw * G.dilation.width;
                  if (h < 0 || h >= G.in.height || v < 0 || v >= G.in.width) continue;
                  const std::int64_t c = oc / out_group * in_group + ic;
                  f(((s * G.in_channels + c) * G.in.height + h) * G.in.width + v,
                    ((oc * in_group + ic) * G.kernel.height + kh) * G.kernel.width + kw,
                    ((s * G.out_channels + oc) * G.out().height + oh) * G.out().width + ow);
                }
  }

  std::int64_t samples_;
  aligned_buffer<T> sums_;  ///< gradients of weights and bias in progress
};

}  // namespace lockstep::reference_backend
