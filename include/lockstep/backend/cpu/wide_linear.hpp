// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/cpu/transpose.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// Matrix products of wide layers, for the few rows of a micro-shard. A general GEMM copies both operands into packed
/// buffers, which for few rows costs a fifth of the product; here weights and their gradients are always packed.
///
/// Weights lie in panels of 16 outputs, (out / 16) x in x 16 and perhaps a last panel of 8. Kernels for 16 lanes take
/// two panels at a time. Geometries are values, so that a network of many layers compiles this code once; a program
/// without wide layers does not compile it at all.

namespace lockstep::cpu_backend::wide {

inline constexpr std::int64_t panel = 16;

/// True for the geometries whose weights lie in these panels.
[[nodiscard]] constexpr bool takes(const linear_geometry& g) { return g.out > panel && g.out % 8 == 0; }

/// Outputs of the panel that starts at output `first`.
[[nodiscard]] constexpr std::int64_t panel_width(const linear_geometry& g, std::int64_t first) {
  return (std::min)(panel, g.out - first);
}

/// Position of PyTorch's weight[o][i] in the flat range.
[[nodiscard]] constexpr std::int64_t weight_offset(const linear_geometry& g, std::int64_t o, std::int64_t i) {
  const std::int64_t first = o / panel * panel;
  return first * g.in + i * panel_width(g, first) + (o - first);
}

/// `unpack` by vectors of 8, whatever V is.
struct unpack_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const linear_geometry& g, const float* LOCKSTEP_RESTRICT w,
                                         float* LOCKSTEP_RESTRICT plain) {
    const std::int64_t whole = g.in / 8 * 8;
    for (std::int64_t o = 0; o < g.out; o += 8) {
      const std::int64_t row = panel_width(g, o / panel * panel);
      const float* from = w + weight_offset(g, o, 0);
      for (std::int64_t i = 0; i < whole; i += 8) transpose8(from + i * row, row, plain + o * g.in + i, g.in);
      for (std::int64_t i = whole; i < g.in; ++i)
        for (std::int64_t k = 0; k < 8; ++k) plain[(o + k) * g.in + i] = from[i * row + k];
    }
  }
};

/// `pack` by vectors of 8, whatever V is.
struct pack_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const linear_geometry& g, const float* LOCKSTEP_RESTRICT plain,
                                         float* LOCKSTEP_RESTRICT dw, bool accumulate) {
    const std::int64_t whole = g.in / 8 * 8;
    for (std::int64_t o = 0; o < g.out; o += 8) {
      const std::int64_t row = panel_width(g, o / panel * panel);
      float* to = dw + weight_offset(g, o, 0);
      for (std::int64_t i = 0; i < whole; i += 8) {
        float block[64];
        transpose8(plain + o * g.in + i, g.in, block, 8);
        for (std::int64_t k = 0; k < 8; ++k) {
          float_x8 sum;
          load(sum, block + 8 * k);
          if (accumulate) add_from(sum, to + (i + k) * row);
          store(to + (i + k) * row, sum);
        }
      }
      for (std::int64_t i = whole; i < g.in; ++i)
        for (std::int64_t k = 0; k < 8; ++k) {
          float& place = to[i * row + k];
          place = accumulate ? place + plain[(o + k) * g.in + i] : plain[(o + k) * g.in + i];
        }
    }
  }
};

/// Columns of a tile: `Vectors` vectors, which lie side by side in a panel, or one in each of two panels.
template <class V, int Vectors>
struct columns {
  using vector = V;
  static constexpr int vectors = Vectors;
  static constexpr std::int64_t width = lanes<V> * Vectors;
  static constexpr std::int64_t panels = (std::max)(std::int64_t{1}, width / panel);
  /// Distance from a row of a panel to the next.
  static constexpr std::int64_t row = (std::min)(width, panel);
  /// Distance from a vector to the next, where panels have `rows` rows.
  [[nodiscard]] static constexpr std::int64_t step(std::int64_t rows) { return panels > 1 ? rows * panel : lanes<V>; }
  /// Most rows of a tile. With 8 lanes, the sums, the vectors of one operand and one broadcast of the other fit 16
  /// registers. With 16 lanes, there are enough sums that they do not wait for each other.
  static constexpr int most_rows = lanes<V> == 16 ? 8 : 6;
};

/// Calls f(columns, first output) until all outputs are covered, with as many panels at once as V takes.
template <class V, class F>
void each_columns(const linear_geometry& g, const F& f) {
  std::int64_t o = 0;
  if constexpr (lanes<V> == panel)
    for (; o + 2 * panel <= g.out; o += 2 * panel) f(columns<V, 2>{}, o);
  for (; o + panel <= g.out; o += panel) f(columns<float_x8, 2>{}, o);
  if (o < g.out) f(columns<float_x8, 1>{}, o);
}

/// Part of a forward product that `forward_tiles` computes: inputs [first, first + depth) of some columns.
struct forward_part {
  std::int64_t first, depth;
  const float* weights;
  const float* bias;  ///< null for a layer without bias
  bool relu;          ///< true for the last part of a layer with relu
};

/// `tiles` tiles of `Rows` rows: y = bias + x w^T in the first part, y += x w^T in later ones; then relu if part.relu.
template <int Rows, class Columns>
struct forward_tiles {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const linear_geometry& g, const forward_part& part, std::int64_t tiles,
                                         const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
    for (; tiles > 0; --tiles, x += Rows * g.in, y += Rows * g.out) {
      matrix_of<V, Rows, Columns::vectors> sum = {};
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Columns::vectors; ++v) {
          if (part.first > 0)
            load(sum[r][v], y + r * g.out + lanes<V> * v);
          else if (part.bias != nullptr)
            load(sum[r][v], part.bias + lanes<V> * v);
        }
      multiply_add<V, Rows, Columns::vectors>(part.depth, x, g.in, 1, part.weights, Columns::row, Columns::step(g.in),
                                              sum);
      if (part.relu)
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
          for (int v = 0; v < Columns::vectors; ++v) relu(sum[r][v]);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Columns::vectors; ++v) store(y + r * g.out + lanes<V> * v, sum[r][v]);
    }
  }
};

/// y (n x out) = x (n x in) w^T + b, then relu if g.relu; NaN stays NaN. Cost: 2 n in out flops; weights are read once
/// from memory and once from the second-level cache for every tile of rows.
template <class V>
void forward(const linear_geometry& g, std::int64_t n, const float* x, const float* w, const float* b, float* y) {
  constexpr std::int64_t deepest = 2048;  // 128 KB of a panel's weights
  for (std::int64_t first = 0; first < g.in; first += deepest) {
    const std::int64_t depth = (std::min)(deepest, g.in - first);
    each_columns<V>(g, [&]<class Columns>(Columns, std::int64_t o) {
      const forward_part part{.first = first,
                              .depth = depth,
                              .weights = w + o * g.in + first * Columns::row,
                              .bias = g.bias ? b + o : nullptr,
                              .relu = g.relu && first + depth == g.in};
      each_height<Columns::most_rows>(n, [&](auto rows, std::int64_t row, std::int64_t tiles) {
        run_for<typename Columns::vector, forward_tiles<rows, Columns>>(g, part, tiles, x + row * g.in + first,
                                                                        y + row * g.out + o);
      });
    });
  }
}

/// `tiles` tiles of `Rows` inputs: dw (+)= x^T dy; rows of x are `x_row` apart, dy is packed as n x width.
template <int Rows, class Columns>
struct weight_tiles {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, std::int64_t tiles, const float* LOCKSTEP_RESTRICT x,
                                         std::int64_t x_row, const float* LOCKSTEP_RESTRICT dy,
                                         float* LOCKSTEP_RESTRICT dw, std::int64_t step, bool accumulate) {
    for (; tiles > 0; --tiles, x += Rows, dw += Rows * Columns::row) {
      matrix_of<V, Rows, Columns::vectors> sum = {};
      multiply_add<V, Rows, Columns::vectors>(n, x, 1, x_row, dy, Columns::width, lanes<V>, sum);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Columns::vectors; ++v) {
          float* to = dw + r * Columns::row + v * step;
          if (accumulate) add_from(sum[r][v], to);
          store(to, sum[r][v]);
        }
    }
  }
};

/// Number of inputs whose weights are transposed at once, so that contiguous reads are longer than a row of 16.
inline constexpr std::int64_t transposed_inputs = 64;

/// Floats of scratch that `backward` needs for n samples.
[[nodiscard]] constexpr std::int64_t backward_scratch(const linear_geometry& g, std::int64_t n) {
  return (std::max)(n * (g.in + 3 * panel), g.out * transposed_inputs);
}

/// dw (+)= dy^T x: the sum over all samples is complete before it is added to older values. Cost: 2 n in out flops.
template <class V>
void backward_weights(const linear_geometry& g, std::int64_t n, const float* x, const float* dy, float* dw,
                      bool accumulate, float* scratch) {
  float* packed_dy = scratch;
  std::int64_t x_row = g.in;
  if (g.in % 256 == 0) {
    // Rows that lie a power of two apart compete for the same cache sets: copy them further apart.
    float* apart = scratch + 2 * n * panel;
    x_row = g.in + panel;
    for (std::int64_t s = 0; s < n; ++s) std::copy_n(x + s * g.in, g.in, apart + s * x_row);
    x = apart;
  }
  each_columns<V>(g, [&]<class Columns>(Columns, std::int64_t o) {
    constexpr std::int64_t width = Columns::width;
    for (std::int64_t s = 0; s < n; ++s) std::copy_n(dy + s * g.out + o, width, packed_dy + s * width);
    each_height<Columns::most_rows>(g.in, [&](auto rows, std::int64_t i, std::int64_t tiles) {
      run_for<typename Columns::vector, weight_tiles<rows, Columns>>(
          n, tiles, x + i, x_row, packed_dy, dw + o * g.in + i * Columns::row, Columns::step(g.in), accumulate);
    });
  });
}

/// to (count / 16 x out x 16) = the weights of inputs [i, i + count), transposed; columns past the last become zero.
struct transpose_weights {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const linear_geometry& g, const float* LOCKSTEP_RESTRICT w, std::int64_t i,
                                         std::int64_t count, float* LOCKSTEP_RESTRICT to) {
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
};

/// `tiles` tiles of `Rows` rows and `width` columns, at most Columns::width: dx = dy w, zero where x <= 0 when
/// g.mask_input.
template <int Rows, class Columns>
struct input_tiles {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const linear_geometry& g, std::int64_t tiles, const float* x, const float* dy,
                                         const float* LOCKSTEP_RESTRICT transposed, float* dx, std::int64_t width) {
    for (; tiles > 0; --tiles, x += Rows * g.in, dy += Rows * g.out, dx += Rows * g.in) {
      matrix_of<V, Rows, Columns::vectors> sum = {};
      multiply_add<V, Rows, Columns::vectors>(g.out, dy, g.out, 1, transposed, panel, Columns::step(g.out), sum);
      // Where columns are missing, whole vectors go to a buffer first: a variable index into the sums would keep them
      // in memory.
      float whole[Rows * Columns::width];
      const bool direct = width == Columns::width;
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Columns::vectors; ++v) {
          const std::int64_t at = r * g.in + lanes<V> * v;
          if (direct && g.mask_input) {
            V passed;
            load(passed, x + at);
            mask(passed, sum[r][v]);
          }
          store(direct ? dx + at : whole + r * Columns::width + lanes<V> * v, sum[r][v]);
        }
      if (direct) continue;
      for (int r = 0; r < Rows; ++r)
        for (std::int64_t i = 0; i < width; ++i)
          dx[r * g.in + i] = g.mask_input && x[r * g.in + i] <= 0.F ? 0.F : whole[r * Columns::width + i];
    }
  }
};

/// dx = dy w, zero where x <= 0 when g.mask_input; dx may be x. Cost: 2 n in out flops.
template <class V>
void backward_input(const linear_geometry& g, std::int64_t n, const float* x, const float* dy, const float* w,
                    float* dx, float* scratch) {
  const auto tile = [&]<class Columns>(Columns, std::int64_t i, std::int64_t width) {
    const float* transposed = scratch + i % transposed_inputs * g.out;
    each_height<Columns::most_rows>(n, [&](auto rows, std::int64_t row, std::int64_t tiles) {
      run_for<typename Columns::vector, input_tiles<rows, Columns>>(g, tiles, x + row * g.in + i, dy + row * g.out,
                                                                    transposed, dx + row * g.in + i, width);
    });
  };
  for (std::int64_t start = 0; start < g.in; start += transposed_inputs) {
    const std::int64_t end = (std::min)(start + transposed_inputs, g.in);
    run_for<float_x8, transpose_weights>(g, w, start, end - start, scratch);
    std::int64_t i = start;
    if constexpr (lanes<V> == panel)
      for (; i + 2 * panel <= end; i += 2 * panel) tile(columns<V, 2>{}, i, 2 * panel);
    for (; i < end; i += panel) tile(columns<float_x8, 2>{}, i, (std::min)(panel, end - i));
  }
}

/// plain (out x in) = the weights in PyTorch's order.
inline void unpack(const linear_geometry& g, const float* LOCKSTEP_RESTRICT w, float* LOCKSTEP_RESTRICT plain) {
  if (has_avx2()) return run_for<float_x8, unpack_kernel>(g, w, plain);
  for (std::int64_t o = 0; o < g.out; ++o)
    for (std::int64_t i = 0; i < g.in; ++i) plain[o * g.in + i] = w[weight_offset(g, o, i)];
}

/// dw (+)= plain, which lies in PyTorch's order.
inline void pack(const linear_geometry& g, const float* LOCKSTEP_RESTRICT plain, float* LOCKSTEP_RESTRICT dw,
                 bool accumulate) {
  if (has_avx2()) return run_for<float_x8, pack_kernel>(g, plain, dw, accumulate);
  for (std::int64_t o = 0; o < g.out; ++o)
    for (std::int64_t i = 0; i < g.in; ++i) {
      float& to = dw[weight_offset(g, o, i)];
      to = accumulate ? to + plain[o * g.in + i] : plain[o * g.in + i];
    }
}

}  // namespace lockstep::cpu_backend::wide
