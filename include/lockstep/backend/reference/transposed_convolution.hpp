// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/reference/context.hpp>
#include <lockstep/backend/reference/tap_gradients.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::reference_backend {

/// Transposed convolution by its definition: every input pixel adds a window of its own to the output; pictures and
/// weights in PyTorch's order.
template <class T, class A, transposed_convolution_geometry G>
class transposed_convolution {
 public:
  transposed_convolution(context&, std::int64_t samples)
      : samples_(samples), sums_(G.weight_size() + G.out_channels), y_(samples * G.out_size()) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  /// Position of PyTorch's weight[i][o][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t i, std::int64_t o, std::int64_t h,
                                                            std::int64_t w) {
    return ((i * (G.out_channels / G.groups) + o) * G.kernel.height + h) * G.kernel.width + w;
  }

  void forward(context&, const A* x, const A* w, const A* b, A* y) {
    T* sums = y_.data();
    for (std::int64_t i = 0; i < samples_ * G.out_size(); ++i) sums[i] = G.bias ? T{b[out_channel<G>(i)]} : T{0};
    each_tap([&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { sums[yi] += T{x[xi]} * T{w[wi]}; });
    for (std::int64_t i = 0; i < samples_ * G.out_size(); ++i)
      y[i] = static_cast<A>(G.relu ? (std::max)(sums[i], T{0}) : sums[i]);
  }

  void backward(context&, const A* x, const A* dy, const A* w, A* dx, T* dw, T* db, bool accumulate) {
    tap_gradients<G>(
        samples_, [&](const auto& f) { each_tap(f); }, x, dy, w, dx, dw, db, accumulate, sums_);
  }

 private:
  /// Calls f(input index, weight index, output index) for every product.
  template <class F>
  void each_tap(const F& f) const {
    constexpr std::int64_t in_group = G.in_channels / G.groups;
    constexpr std::int64_t out_group = G.out_channels / G.groups;
    for (std::int64_t s = 0; s < samples_; ++s)
      for (std::int64_t ic = 0; ic < G.in_channels; ++ic)
        for (std::int64_t ih = 0; ih < G.in.height; ++ih)
          for (std::int64_t iw = 0; iw < G.in.width; ++iw)
            for (std::int64_t oc = 0; oc < out_group; ++oc)
              for (std::int64_t kh = 0; kh < G.kernel.height; ++kh)
                for (std::int64_t kw = 0; kw < G.kernel.width; ++kw) {
                  const std::int64_t h = ih * G.stride.height - G.padding.height + kh * G.dilation.height;
                  const std::int64_t v = iw * G.stride.width - G.padding.width + kw * G.dilation.width;
                  if (h < 0 || h >= G.out().height || v < 0 || v >= G.out().width) continue;
                  const std::int64_t c = ic / in_group * out_group + oc;
                  f(((s * G.in_channels + ic) * G.in.height + ih) * G.in.width + iw,
                    ((ic * out_group + oc) * G.kernel.height + kh) * G.kernel.width + kw,
                    ((s * G.out_channels + c) * G.out().height + h) * G.out().width + v);
                }
  }

  std::int64_t samples_;
  aligned_buffer<T> sums_;  ///< gradients of weights and bias in progress
  aligned_buffer<T> y_;     ///< outputs in progress
};

}  // namespace lockstep::reference_backend
