// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/map.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/softmax.hpp>
#include <lockstep/backend/host_attention_row.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// See host::attend_to_kept.
struct attention_row_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(attention_row_geometry g, std::int64_t samples, const float* x, float* kept,
                                         float* scores, float* y) {
    const std::int64_t row = g.row();
    const std::int64_t rows = g.before + 1;
    for (std::int64_t s = 0; s < samples; ++s, x += 3 * row, kept += g.most * 2 * row, y += row) {
      std::copy_n(x + row, 2 * row, kept + g.before * 2 * row);
      for (std::int64_t h = 0; h < row; h += g.width) {
        const float* k = kept + h;
        for (std::int64_t j = 0; j < rows; ++j, k += 2 * row)
          scores[j] = product<V>(g.width, x + h, k) * static_cast<float>(g.scale);
        const float top = row_exponentials::largest<V>(rows, scores);
        const auto inverse = static_cast<float>(1 / row_exponentials::sum<V>(rows, top, scores, scores));
        weigh<V>(g.width, rows, 2 * row, scores, kept + row + h, inverse, y + h);
      }
    }
  }

 private:
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE float product(std::int64_t width, const float* a, const float* b) {
    V sum{};
    for (std::int64_t i = 0; i < width; i += lanes<V>) {
      V of_a, of_b;
      load_first(of_a, a + i, width - i);
      load_first(of_b, b + i, width - i);
      sum += of_a * of_b;
    }
    return sum_lanes(sum);
  }

  /// y = factor times the sum of rows v, each times its weight.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void weigh(std::int64_t width, std::int64_t rows, std::int64_t step,
                                           const float* weights, const float* v, float factor, float* y) {
    for (std::int64_t i = 0; i < width; i += lanes<V>) {
      V sum{};
      const float* from = v + i;
      for (std::int64_t j = 0; j < rows; ++j, from += step) {
        V value;
        load_first(value, from, width - i);
        sum += value * weights[j];
      }
      sum *= factor;
      store_first(y + i, sum, width - i);
    }
  }
};

}  // namespace lockstep::cpu_backend
