// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/softmax.hpp>
#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/host_loss.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// See host::softmax_cross_entropy, without label smoothing. Adds to *total.
struct cross_entropy_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, const cross_entropy_arguments& a, const float* logits,
                                         const std::int64_t* targets, float* dlogits, double scale, double* total) {
    const std::int64_t classes = a.classes;
    for (std::int64_t r = 0; r < rows; ++r, logits += classes) {
      float* const out = dlogits == nullptr ? nullptr : dlogits + r * classes;
      const std::int64_t target = targets[r];
      if (target == a.ignore_index) {
        if (out != nullptr) multiply<V>(classes, 0.F, nullptr, out);
        continue;
      }
      const double weight = a.class_weights == nullptr ? 1.0 : double{a.class_weights[target]};
      const float top = row_exponentials::largest<V>(classes, logits);
      const double sum = row_exponentials::sum<V>(classes, top, logits, out);
      *total += weight * (static_cast<double>(top) + std::log(sum) - static_cast<double>(logits[target]));
      if (out == nullptr) continue;
      const double inverse = weight * scale / sum;
      const double of_target = static_cast<double>(out[target]) * inverse - weight * scale;
      multiply<V>(classes, static_cast<float>(inverse), out, out);
      out[target] = static_cast<float>(of_target);
    }
  }

 private:
  /// y = factor * x; zeros where x is null.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void multiply(std::int64_t count, float factor, const float* x, float* y) {
    for (std::int64_t k = 0; k < count; k += lanes<V>) {
      V v{};
      if (x != nullptr) {
        load_first(v, x + k, count - k);
        v *= factor;
      }
      store_first(y + k, v, count - k);
    }
  }
};

/// As host::softmax_cross_entropy. Vectors pay from two of them on: a classifier of ten classes has none.
inline double softmax_cross_entropy(context&, std::int64_t rows, const cross_entropy_arguments& a, const float* logits,
                                    const std::int64_t* targets, float* dlogits, double scale) {
  if (a.classes < 16 || a.label_smoothing != 0.F || !has_avx2())
    return host::softmax_cross_entropy(rows, a, logits, targets, dlogits, scale);
  double total = 0;
  run_widest<cross_entropy_kernel, std::int64_t, const cross_entropy_arguments&>(rows, a, logits, targets, dlogits,
                                                                                 scale, &total);
  return total;
}

}  // namespace lockstep::cpu_backend
