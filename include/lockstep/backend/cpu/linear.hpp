// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/loop.hpp>
#include <lockstep/backend/cpu/narrow_backward.hpp>
#include <lockstep/backend/cpu/narrow_forward.hpp>
#include <lockstep/backend/cpu/narrow_linear.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/wide_linear.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

// Outside of `linear`, so that layers of all geometries share them.

/// dx = product where x is positive, else 0; dx may be x.
inline void mask_product(std::int64_t count, const float* x, const float* product, float* dx) {
  loop(count, [=](std::int64_t i) { dx[i] = x[i] <= 0.F ? 0.F : product[i]; });
}
inline void add_product(std::int64_t count, const float* product, float* sum) {
  loop(count, [=](std::int64_t i) { sum[i] += product[i]; });
}

/// Fully connected products. Weights lie in the order of `weight_offset`.
template <linear_geometry G>
class linear {
 public:
  static constexpr bool is_narrow = G.out <= 16;
  static constexpr bool is_wide = wide::takes(G);

  linear(context& c, std::int64_t samples)
      : samples_(samples),
        by_panels_(is_wide && has_avx2() && c.threads() == 1),
        partial_(is_narrow && has_avx2() ? samples * narrow::partial_sums<G> : 0),
        plain_(is_wide && !by_panels_ ? G.in * G.out : 0) {}

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  /// Position of PyTorch's weight[o][i] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) {
    if (is_narrow) return narrow::weight_offset<G>(o, i);
    return is_wide ? wide::weight_offset(G, o, i) : o * G.in + i;
  }

  /// y (n x out) = x (n x in) w^T + b, then relu if G.relu.
  void forward(context&, const float* x, const float* w, const float* b, float* y) {
    if constexpr (is_narrow) {
      if (has_avx2())
        with_vectors(
            [&]<class V>(std::type_identity<V>) { narrow::forward<G, V>(samples_, x, w, b, y, partial_.data()); });
      else
        narrow::forward_portable<G>(samples_, x, w, b, y);
    } else {
      if constexpr (is_wide)
        if (by_panels_)
          return with_widest([&]<class V>(std::type_identity<V>) { wide::forward<V>(G, samples_, x, w, b, y); });
      onednn::sgemm('N', 'T', samples_, G.out, G.in, x, G.in, in_plain_order(w), G.in, 0.F, y);
      finish(y, b);
    }
  }

  /// dw (+)= dy^T x and db (+)= column sums of dy when G.parameter_gradient, and dx = dy w when G.input_gradient; dx
  /// may be x.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    if constexpr (G.bias && G.parameter_gradient) sum_columns(dy, db, accumulate);
    if constexpr (is_narrow) {
      if (has_avx2())
        with_vectors(
            [&]<class V>(std::type_identity<V>) { narrow::backward<G, V>(samples_, x, dy, w, dx, dw, accumulate); });
      else
        narrow::backward_portable<G>(samples_, x, dy, w, dx, dw, accumulate);
    } else {
      if constexpr (is_wide)
        if (by_panels_) {
          float* scratch = c.workspace(wide::backward_scratch(G, samples_));
          return with_widest([&]<class V>(std::type_identity<V>) {
            if constexpr (G.parameter_gradient) wide::backward_weights<V>(G, samples_, x, dy, dw, accumulate, scratch);
            if constexpr (G.input_gradient) wide::backward_input<V>(G, samples_, x, dy, w, dx, scratch);
          });
        }
      if constexpr (G.parameter_gradient) backward_weights(c, x, dy, dw, accumulate);
      if constexpr (G.input_gradient) {
        // dx may be x, which the mask needs after the product.
        float* product = G.mask_input ? c.workspace(samples_ * G.in) : dx;
        onednn::sgemm('N', 'N', samples_, G.in, G.out, dy, G.out, in_plain_order(w), G.in, 0.F, product);
        if constexpr (G.mask_input) mask_product(samples_ * G.in, x, product, dx);
      }
    }
  }

 private:
  /// Calls f(std::type_identity<V>{}) for the vectors V of the narrow kernels. Wide vectors only where few inputs are
  /// left over: kernels whose lanes are inputs compute the rest in scalar code.
  template <class F>
  static void with_vectors(const F& f) {
    if constexpr (G.in % lanes<float_x16> == 0 || G.in >= 256)
      with_widest(f);
    else
      f(std::type_identity<float_x8>{});
  }

  /// Returns the weights in PyTorch's order, as oneDNN reads them.
  [[nodiscard]] const float* in_plain_order(const float* w) {
    if constexpr (!is_wide) return w;
    wide::unpack(G, w, plain_.data());
    return plain_.data();
  }

  void backward_weights(context& c, const float* x, const float* dy, float* dw, bool accumulate) {
    // A library may add to dw block by block, so the sum is completed first and then added.
    float* fresh = is_wide ? plain_.data() : accumulate ? c.workspace(G.in * G.out) : dw;
    onednn::sgemm('T', 'N', G.out, G.in, samples_, dy, G.out, x, G.in, 0.F, fresh);
    if constexpr (is_wide) {
      wide::pack(G, fresh, dw, accumulate);
    } else if (accumulate) {
      add_product(G.in * G.out, fresh, dw);
    }
  }

  void finish(float* LOCKSTEP_RESTRICT y, const float* LOCKSTEP_RESTRICT b) const {
    if constexpr (!G.bias && !G.relu) return;
    for (std::int64_t s = 0; s < samples_; ++s)
      for (std::int64_t o = 0; o < G.out; ++o) {
        const float v = y[s * G.out + o] + (G.bias ? b[o] : 0.F);
        y[s * G.out + o] = G.relu ? (std::max)(v, 0.F) : v;
      }
  }

  void sum_columns(const float* LOCKSTEP_RESTRICT dy, float* LOCKSTEP_RESTRICT db, bool accumulate) const {
    for (std::int64_t first = 0; first < G.out; first += loop_block) {
      const std::int64_t count = (std::min)(loop_block, G.out - first);
      float sums[loop_block] = {};
      for (std::int64_t s = 0; s < samples_; ++s)
        for (std::int64_t o = 0; o < count; ++o) sums[o] += dy[s * G.out + first + o];
      for (std::int64_t o = 0; o < count; ++o) db[first + o] = accumulate ? db[first + o] + sums[o] : sums[o];
    }
  }

  std::int64_t samples_;
  bool by_panels_;                 ///< by the kernels of wide_linear.hpp, which run in one thread
  aligned_buffer<float> partial_;  ///< sums in progress of the narrow kernel
  aligned_buffer<float> plain_;    ///< weights, or their gradients, in PyTorch's order where oneDNN runs a wide layer
};

}  // namespace lockstep::cpu_backend
