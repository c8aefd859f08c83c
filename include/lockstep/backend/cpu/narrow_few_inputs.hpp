// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/narrow_linear.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// A narrow layer of few inputs. With inputs as lanes, sums would be short and adding up their lanes most of the work.
/// So lanes are outputs here, and the kernels transpose the few weights.

namespace lockstep::cpu_backend::narrow {

/// True when `few_inputs_kernel` is faster: all weights lie in one panel.
template <linear_geometry G>
inline constexpr bool has_few_inputs = G.in <= panel;

/// The outputs of a sample as whole vectors.
template <linear_geometry G, class V>
struct output_row {
  static constexpr int vectors = static_cast<int>((G.out + lanes<V> - 1) / lanes<V>);
  static constexpr std::int64_t size = vectors * lanes<V>;
  /// Most rows of a tile: their sums leave registers for the operands.
  static constexpr int most_rows = vectors == 1 ? 8 : 6;
  /// Number of following samples that a sample's whole vectors reach into.
  static constexpr std::int64_t samples_reached = (size - 1) / G.out;
};

/// y = relu_if(x w^T + b) for n samples. Cost: 2 n in out flops.
template <linear_geometry G>
struct few_inputs_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* LOCKSTEP_RESTRICT x,
                                         const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                         float* LOCKSTEP_RESTRICT y) {
    using outputs = output_row<G, V>;
    constexpr int vectors = outputs::vectors;
    constexpr int most_rows = outputs::most_rows;
    constexpr std::int64_t row = outputs::size;
    array_of<float, (G.in * row)> turned = {};
    for (std::int64_t o = 0; o < G.out; ++o)
      for (std::int64_t i = 0; i < G.in; ++i) turned[i * row + o] = w[weight_offset<G>(o, i)];
    array_of<float, row> bias = {};
    if constexpr (G.bias) std::copy_n(b, G.out, bias);

    // Whole vectors are stored. The next samples overwrite what a vector writes past its sample's outputs; the last
    // samples have no room for that and go through a buffer.
    std::int64_t s = 0;
    const std::int64_t with_room = n - outputs::samples_reached;
    for (; s + most_rows <= with_room; s += most_rows)
      tile<V, most_rows, vectors>(x + s * G.in, turned, bias, y + s * G.out);
    for (; s < n; ++s) {
      array_of<float, row> last;
      tile<V, 1, vectors>(x + s * G.in, turned, bias, last);
      std::copy_n(last, G.out, y + s * G.out);
    }
  }

 private:
  template <class V, int Rows, int Vectors>
  static LOCKSTEP_ALWAYS_INLINE void tile(const float* LOCKSTEP_RESTRICT x, const float* LOCKSTEP_RESTRICT turned,
                                          const float* LOCKSTEP_RESTRICT bias, float* LOCKSTEP_RESTRICT y) {
    matrix_of<V, Rows, Vectors> sum;
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) load(sum[r][v], bias + lanes<V> * v);
    multiply_add<V, Rows, Vectors>(G.in, x, G.in, 1, turned, Vectors * lanes<V>, lanes<V>, sum);
    if constexpr (G.relu)
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) relu(sum[r][v]);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) store(y + r * G.out + lanes<V> * v, sum[r][v]);
  }
};

/// dw (+)= dy^T x for n samples: the sum over all samples is complete before it is added to older values. Cost: 2 n in
/// out flops.
template <linear_geometry G>
struct few_inputs_gradient_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* LOCKSTEP_RESTRICT x,
                                         const float* LOCKSTEP_RESTRICT dy, float* LOCKSTEP_RESTRICT dw,
                                         bool accumulate) {
    using outputs = output_row<G, V>;
    constexpr int vectors = outputs::vectors;
    constexpr int most_rows = outputs::most_rows;
    constexpr std::int64_t row = outputs::size;
    // Whole vectors are read. For the last samples this would read past the end of dy, so they are copied to a buffer.
    const std::int64_t apart = (std::min)(n, outputs::samples_reached);
    float last[outputs::samples_reached * G.out + row] = {};
    std::copy_n(dy + (n - apart) * G.out, apart * G.out, last);
    array_of<float, G.in * row> turned;
    std::int64_t i = 0;
    for (; i + most_rows <= G.in; i += most_rows)
      tile<V, most_rows, vectors>(n, apart, x + i, dy, last, turned + i * row);
    if constexpr (G.in % most_rows != 0)
      tile<V, G.in % most_rows, vectors>(n, apart, x + i, dy, last, turned + i * row);
    for (std::int64_t o = 0; o < G.out; ++o)
      for (i = 0; i < G.in; ++i) {
        float& to = dw[weight_offset<G>(o, i)];
        to = accumulate ? to + turned[i * row + o] : turned[i * row + o];
      }
  }

 private:
  /// The weight gradients of `Rows` inputs. `last` holds dy of the last `apart` samples.
  template <class V, int Rows, int Vectors>
  static LOCKSTEP_ALWAYS_INLINE void tile(std::int64_t n, std::int64_t apart, const float* LOCKSTEP_RESTRICT x,
                                          const float* LOCKSTEP_RESTRICT dy, const float* LOCKSTEP_RESTRICT last,
                                          float* LOCKSTEP_RESTRICT turned) {
    matrix_of<V, Rows, Vectors> sum = {};
    multiply_add<V, Rows, Vectors>(n - apart, x, 1, G.in, dy, G.out, lanes<V>, sum);
    multiply_add<V, Rows, Vectors>(apart, x + (n - apart) * G.in, 1, G.in, last, G.out, lanes<V>, sum);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) store(turned + (r * Vectors + v) * lanes<V>, sum[r][v]);
  }
};

}  // namespace lockstep::cpu_backend::narrow
