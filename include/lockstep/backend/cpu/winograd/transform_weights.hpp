// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/winograd/transform_tiles.hpp>

/// \file
/// The kernels that transform weights, and gradients back to those of weights. Weights lie as 3 x 3 taps x inputs x
/// outputs.

namespace lockstep::cpu_backend::winograd {

inline constexpr int taps = 9;

/// Transforms the weights of a panel of outputs: points x inputs x panel. `w` is the panel's first weight; weights of
/// neighbouring inputs lie `outputs` apart.
template <class F, int Vectors>
struct transform_weights {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t inputs, std::int64_t outputs, const float* LOCKSTEP_RESTRICT w,
                                         float* LOCKSTEP_RESTRICT to) {
    constexpr int points = F::points;
    constexpr std::int64_t panel = Vectors * lanes<V>;
    for (std::int64_t i = 0; i < inputs; ++i, w += outputs, to += panel)
      for (int v = 0; v < Vectors; ++v) {
        matrix_of<V, points, 3> columns;
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) {
          array_of<V, 3> g;
#pragma GCC unroll 3
          for (int k = 0; k < 3; ++k) load(g[k], w + (3 * k + j) * inputs * outputs + lanes<V> * v);
          F::taps(g, 1, &columns[0][j], 3);
        }
#pragma GCC unroll 6
        for (int k = 0; k < points; ++k) {
          array_of<V, points> values;
          F::taps(columns[k], 1, values, 1);
#pragma GCC unroll 6
          for (int j = 0; j < points; ++j)
            store(to + (k * points + j) * point_step(inputs * panel) + lanes<V> * v, values[j]);
        }
      }
  }
};

/// dw (+)= the gradients of the weights of `inputs` of `all_inputs` inputs and a panel of outputs, from the sums at
/// points: points x inputs x panel.
template <class F, int Vectors>
struct transform_weight_gradients {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t all_inputs, std::int64_t inputs, std::int64_t outputs,
                                         const float* LOCKSTEP_RESTRICT sums, bool accumulate,
                                         float* LOCKSTEP_RESTRICT dw) {
    constexpr int points = F::points;
    constexpr std::int64_t panel = Vectors * lanes<V>;
    for (std::int64_t i = 0; i < inputs; ++i, dw += outputs, sums += panel)
      for (int v = 0; v < Vectors; ++v) {
        matrix_of<V, 3, points> columns;
#pragma GCC unroll 6
        for (int j = 0; j < points; ++j) {
          array_of<V, points> m;
#pragma GCC unroll 6
          for (int k = 0; k < points; ++k)
            load(m[k], sums + (k * points + j) * point_step(inputs * panel) + lanes<V> * v);
          F::tap_gradients(m, 1, &columns[0][j], points);
        }
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) {
          array_of<V, 3> values;
          F::tap_gradients(columns[k], 1, values, 1);
#pragma GCC unroll 3
          for (int j = 0; j < 3; ++j) {
            float* const tap = dw + (3 * k + j) * all_inputs * outputs + lanes<V> * v;
            if (accumulate) add_from(values[j], tap);
            store(tap, values[j]);
          }
        }
      }
  }
};

/// to (outputs x inputs for each tap, the taps in reverse) = the weights of the convolution that leads gradients back.
inline void turn_weights(std::int64_t inputs, std::int64_t outputs, const float* LOCKSTEP_RESTRICT w,
                         float* LOCKSTEP_RESTRICT to) {
  constexpr std::int64_t block = 16;
  for (int tap = 0; tap < taps; ++tap) {
    const float* from = w + tap * inputs * outputs;
    float* turned = to + (taps - 1 - tap) * inputs * outputs;
    for (std::int64_t i = 0; i < inputs; i += block)
      for (std::int64_t o = 0; o < outputs; o += block)
        for (std::int64_t a = 0; a < block; ++a)
          for (std::int64_t b = 0; b < block; ++b) turned[(o + a) * inputs + i + b] = from[(i + b) * outputs + o + a];
  }
}

}  // namespace lockstep::cpu_backend::winograd
