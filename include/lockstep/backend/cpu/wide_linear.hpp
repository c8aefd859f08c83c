// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// Matrix products whose both sides are wide, for the few rows of a micro-shard. A general GEMM copies both operands
/// into packed buffers, which for few rows costs a fifth of the product; here weights and their gradients always lie
/// packed.
///
/// Weights lie in panels of 16 outputs, (out / 16) x in x 16 and perhaps a last panel of 8. Geometries are values, so
/// that a network of many layers compiles this code once; elements are a template parameter, though only float has
/// kernels, so that a program without wide layers does not compile it at all.

namespace lockstep::cpu_backend::wide {

inline constexpr std::int64_t panel = 16;

/// True for the geometries whose weights lie in these panels.
[[nodiscard]] constexpr bool takes(const linear_geometry& g) { return g.out > panel && g.out % 8 == 0; }

/// Outputs of the panel that starts at output `first`.
[[nodiscard]] constexpr std::int64_t panel_width(const linear_geometry& g, std::int64_t first) {
  return std::min(panel, g.out - first);
}

/// Position of PyTorch's weight[o][i] in the flat range.
[[nodiscard]] constexpr std::int64_t weight_offset(const linear_geometry& g, std::int64_t o, std::int64_t i) {
  const std::int64_t first = o / panel * panel;
  return first * g.in + i * panel_width(g, first) + (o - first);
}

#if LOCKSTEP_X86_64()

/// to[k][j] = from[j][k] for 8 x 8 values; rows are `from_row` and `to_row` apart.
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void transpose8(const float* from, std::int64_t from_row, float* to,
                                                            std::int64_t to_row) {
  float8 a[8], b[8];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) a[j] = load8(from + j * from_row);
#pragma GCC unroll 4
  for (int j = 0; j < 8; j += 2) {
    b[j] = __builtin_shufflevector(a[j], a[j + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[j + 1] = __builtin_shufflevector(a[j], a[j + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int j = 0; j < 8; j += 4)
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      a[j + 2 * h] = __builtin_shufflevector(b[j + h], b[j + h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[j + 2 * h + 1] = __builtin_shufflevector(b[j + h], b[j + h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    store8(to + k * to_row, __builtin_shufflevector(a[k], a[k + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store8(to + (k + 4) * to_row, __builtin_shufflevector(a[k], a[k + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

/// plain (out x in) = the weights in PyTorch's order.
template <std::same_as<float> T>
LOCKSTEP_TARGET_AVX2 void unpack_avx2(const linear_geometry& g, const T* LOCKSTEP_RESTRICT w,
                                      T* LOCKSTEP_RESTRICT plain) {
  const std::int64_t whole = g.in / 8 * 8;
  for (std::int64_t o = 0; o < g.out; o += 8) {
    const std::int64_t row = panel_width(g, o / panel * panel);
    const T* from = w + weight_offset(g, o, 0);
    for (std::int64_t i = 0; i < whole; i += 8) transpose8(from + i * row, row, plain + o * g.in + i, g.in);
    for (std::int64_t i = whole; i < g.in; ++i)
      for (std::int64_t k = 0; k < 8; ++k) plain[(o + k) * g.in + i] = from[i * row + k];
  }
}

/// dw (+)= plain, which lies in PyTorch's order.
template <std::same_as<float> T>
LOCKSTEP_TARGET_AVX2 void pack_avx2(const linear_geometry& g, const T* LOCKSTEP_RESTRICT plain, T* LOCKSTEP_RESTRICT dw,
                                    bool accumulate) {
  const std::int64_t whole = g.in / 8 * 8;
  for (std::int64_t o = 0; o < g.out; o += 8) {
    const std::int64_t row = panel_width(g, o / panel * panel);
    T* to = dw + weight_offset(g, o, 0);
    for (std::int64_t i = 0; i < whole; i += 8) {
      T block[64];
      transpose8(plain + o * g.in + i, g.in, block, 8);
      for (std::int64_t k = 0; k < 8; ++k) {
        T* place = to + (i + k) * row;
        store8(place, accumulate ? load8(place) + load8(block + 8 * k) : load8(block + 8 * k));
      }
    }
    for (std::int64_t i = whole; i < g.in; ++i)
      for (std::int64_t k = 0; k < 8; ++k) {
        T& place = to[i * row + k];
        place = accumulate ? place + plain[(o + k) * g.in + i] : plain[(o + k) * g.in + i];
      }
  }
}

/// Rows of a tile at most: 6 rows by 16 columns are twelve sums, two vectors of one operand and one broadcast of the
/// other, in sixteen registers.
inline constexpr int most_rows = 6;

/// Calls f(vectors, first) for the panels in turn; `vectors`, an integral_constant, is their width / 8.
template <class F>
void each_panel(const linear_geometry& g, const F& f) {
  for (std::int64_t o = 0; o < g.out; o += panel) {
    if (panel_width(g, o) == panel)
      f(std::integral_constant<int, 2>{}, o);
    else
      f(std::integral_constant<int, 1>{}, o);
  }
}

/// Part of a forward product that `forward_tiles` computes: inputs [first, first + depth) of one panel.
struct forward_part {
  std::int64_t first, depth;
  const float* weights;
  const float* bias;  ///< null for a layer without
  bool relu;          ///< the last part of a layer with relu
};

/// `tiles` tiles of `Rows` rows: y = bias or what y holds, + x w^T.
template <int Rows, int Vectors>
LOCKSTEP_TARGET_AVX2 void forward_tiles(const linear_geometry& g, const forward_part& part, std::int64_t tiles,
                                        const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
  for (; tiles > 0; --tiles, x += Rows * g.in, y += Rows * g.out) {
    float8 sum[Rows][Vectors] = {};
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) {
        if (part.first > 0)
          sum[r][v] = load8(y + r * g.out + 8 * v);
        else if (part.bias != nullptr)
          sum[r][v] = load8(part.bias + 8 * v);
      }
    multiply_add(part.depth, x, g.in, 1, part.weights, 8 * Vectors, sum);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) store8(y + r * g.out + 8 * v, part.relu ? relu8(sum[r][v]) : sum[r][v]);
  }
}

/// y (n x out) = x (n x in) w^T + b, then relu if g.relu; NaN stays NaN. Cost: 2 n in out flops; weights are read once
/// from memory and once from the second-level cache for every 6 rows.
template <std::same_as<float> T>
void forward(const linear_geometry& g, std::int64_t n, const T* x, const T* w, const T* b, T* y) {
  constexpr std::int64_t deepest = 2048;  // 128 KB of weights
  for (std::int64_t first = 0; first < g.in; first += deepest) {
    const std::int64_t depth = std::min(deepest, g.in - first);
    each_panel(g, [&](auto vectors, std::int64_t o) {
      const forward_part part{.first = first,
                              .depth = depth,
                              .weights = w + o * g.in + first * 8 * vectors,
                              .bias = g.bias ? b + o : nullptr,
                              .relu = g.relu && first + depth == g.in};
      each_height<most_rows>(n, [&](auto rows, std::int64_t row, std::int64_t tiles) {
        forward_tiles<rows, vectors>(g, part, tiles, x + row * g.in + first, y + row * g.out + o);
      });
    });
  }
}

/// `tiles` tiles of `Rows` inputs of one panel: dw (+)= x^T dy; rows of x are `x_row` apart, dy is packed as
/// n x (8 * Vectors).
template <int Rows, int Vectors>
LOCKSTEP_TARGET_AVX2 void weight_tiles(std::int64_t n, std::int64_t tiles, const float* LOCKSTEP_RESTRICT x,
                                       std::int64_t x_row, const float* LOCKSTEP_RESTRICT dy,
                                       float* LOCKSTEP_RESTRICT dw, bool accumulate) {
  for (; tiles > 0; --tiles, x += Rows, dw += Rows * 8 * Vectors) {
    float8 sum[Rows][Vectors] = {};
    multiply_add(n, x, 1, x_row, dy, 8 * Vectors, sum);
    if (accumulate)
#pragma GCC unroll 6
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sum[r][v] = load8(dw + 8 * (r * Vectors + v)) + sum[r][v];
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) store8(dw + 8 * (r * Vectors + v), sum[r][v]);
  }
}

/// Inputs whose weights are transposed at once: what is read is contiguous for longer than a row of 16 would be.
inline constexpr std::int64_t transposed_inputs = 64;

/// Floats of scratch that `backward` needs for n samples.
[[nodiscard]] constexpr std::int64_t backward_scratch(const linear_geometry& g, std::int64_t n) {
  return std::max(n * (g.in + 2 * panel), g.out * transposed_inputs);
}

/// dw (+)= dy^T x: the sum over all samples is complete before anything older is added to it. Cost: 2 n in out flops.
template <std::same_as<float> T>
void backward_weights(const linear_geometry& g, std::int64_t n, const T* x, const T* dy, T* dw, bool accumulate,
                      T* scratch) {
  T* packed_dy = scratch;
  std::int64_t x_row = g.in;
  if (g.in % 256 == 0) {
    // Rows that lie a power of two apart compete for the same cache sets: copy them further apart.
    T* apart = scratch + n * panel;
    x_row = g.in + panel;
    for (std::int64_t s = 0; s < n; ++s) std::copy_n(x + s * g.in, g.in, apart + s * x_row);
    x = apart;
  }
  each_panel(g, [&](auto vectors, std::int64_t o) {
    constexpr std::int64_t width = 8 * vectors;
    for (std::int64_t s = 0; s < n; ++s) std::copy_n(dy + s * g.out + o, width, packed_dy + s * width);
    each_height<most_rows>(g.in, [&](auto rows, std::int64_t i, std::int64_t tiles) {
      weight_tiles<rows, vectors>(n, tiles, x + i, x_row, packed_dy, dw + o * g.in + i * width, accumulate);
    });
  });
}

/// to (count / 16 x out x 16) = the weights of inputs [i, i + count), transposed; columns behind the last become zero.
LOCKSTEP_TARGET_AVX2 inline void transpose_weights(const linear_geometry& g, const float* LOCKSTEP_RESTRICT w,
                                                   std::int64_t i, std::int64_t count, float* LOCKSTEP_RESTRICT to) {
  if (count % panel != 0) std::fill_n(to + count / panel * panel * g.out, g.out * panel, 0.F);
  for (std::int64_t o = 0; o < g.out; o += 8) {
    const std::int64_t row = panel_width(g, o / panel * panel);
    const float* from = w + weight_offset(g, o, i);
    float* place = to + o * panel;
    std::int64_t j = 0;
    for (; j + panel <= count; j += panel, place += g.out * panel) {
      transpose8(from + j * row, row, place, panel);
      transpose8(from + (j + 8) * row, row, place + 8, panel);
    }
    for (; j < count; ++j)
      for (std::int64_t k = 0; k < 8; ++k) place[k * panel + j % panel] = from[j * row + k];
  }
}

/// `tiles` tiles of `Rows` rows and `width` columns, 16 at most: dx = dy w, zero where x <= 0 when g.mask_input.
template <int Rows>
LOCKSTEP_TARGET_AVX2 void input_tiles(const linear_geometry& g, std::int64_t tiles, const float* x, const float* dy,
                                      const float* LOCKSTEP_RESTRICT transposed, float* dx, std::int64_t width) {
  for (; tiles > 0; --tiles, x += Rows * g.in, dy += Rows * g.out, dx += Rows * g.in) {
    float8 sum[Rows][2] = {};
    multiply_add(g.out, dy, g.out, 1, transposed, panel, sum);
    if (width == panel) {
#pragma GCC unroll 6
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
          const std::int64_t at = r * g.in + 8 * v;
          store8(dx + at, g.mask_input ? masked8(load8(x + at), sum[r][v]) : sum[r][v]);
        }
    } else {
      for (int r = 0; r < Rows; ++r)
        for (std::int64_t i = 0; i < width; ++i)
          dx[r * g.in + i] = g.mask_input && x[r * g.in + i] <= 0.F ? 0.F : sum[r][i / 8][i % 8];
    }
  }
}

/// dx = dy w, zero where x <= 0 when g.mask_input; dx may be x. Cost: 2 n in out flops.
template <std::same_as<float> T>
void backward_input(const linear_geometry& g, std::int64_t n, const T* x, const T* dy, const T* w, T* dx, T* scratch) {
  for (std::int64_t i = 0; i < g.in; i += panel) {
    const std::int64_t width = std::min(panel, g.in - i);
    const T* transposed = scratch + i % transposed_inputs * g.out;
    if (i % transposed_inputs == 0) transpose_weights(g, w, i, std::min(transposed_inputs, g.in - i), scratch);
    each_height<most_rows>(n, [&](auto rows, std::int64_t row, std::int64_t tiles) {
      input_tiles<rows>(g, tiles, x + row * g.in + i, dy + row * g.out, transposed, dx + row * g.in + i, width);
    });
  }
}

#endif

/// plain (out x in) = the weights in PyTorch's order.
template <std::same_as<float> T>
void unpack(const linear_geometry& g, const T* LOCKSTEP_RESTRICT w, T* LOCKSTEP_RESTRICT plain) {
#if LOCKSTEP_X86_64()
  if (has_avx2()) return unpack_avx2(g, w, plain);
#endif
  for (std::int64_t o = 0; o < g.out; ++o)
    for (std::int64_t i = 0; i < g.in; ++i) plain[o * g.in + i] = w[weight_offset(g, o, i)];
}

/// dw (+)= plain, which lies in PyTorch's order.
template <std::same_as<float> T>
void pack(const linear_geometry& g, const T* LOCKSTEP_RESTRICT plain, T* LOCKSTEP_RESTRICT dw, bool accumulate) {
#if LOCKSTEP_X86_64()
  if (has_avx2()) return pack_avx2(g, plain, dw, accumulate);
#endif
  for (std::int64_t o = 0; o < g.out; ++o)
    for (std::int64_t i = 0; i < g.in; ++i) {
      T& to = dw[weight_offset(g, o, i)];
      to = accumulate ? to + plain[o * g.in + i] : plain[o * g.in + i];
    }
}

}  // namespace lockstep::cpu_backend::wide
