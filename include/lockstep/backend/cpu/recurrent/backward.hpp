// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/recurrent/forward.hpp>
#include <lockstep/backend/cpu/recurrent/panels.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/element_functions.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// A backward step of a recurrent layer for all samples: the gradients of the gates from that of the state, and their
/// product with weight_hh, which is the gradient of the state before.

namespace lockstep::cpu_backend::recurrence {

/// The arrays of a step: rows of all samples. Gradients of states and cells lie in rows of `row` floats, which whole
/// vectors may fill.
struct backward_step {
  std::int64_t samples;
  std::int64_t hidden;
  std::int64_t row;
  const float* dy;  ///< of the state, from the layers above; null where nothing comes from there
  std::int64_t dy_row;
  const float* before;  ///< states
  const float* states;
  const float* cells_before;  ///< of an lstm
  const float* cells;
  float* kept;      ///< what forward kept; becomes the gradients of the gates, and of a gru's b of n
  float* d_states;  ///< from the step after; becomes what of the gradient goes past the product
  float* d_cells;
  float* d_bias;  ///< adds the gradients of the gates of all samples: `kept` arrays of `hidden`
};

template <recurrent_cell Cell>
struct backward_cells {
  static constexpr int kept = kept_of(Cell);

  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const backward_step& s) {
    const std::int64_t whole = s.hidden / lanes<V> * lanes<V>;
    for (std::int64_t sample = 0; sample < s.samples; ++sample) {
      for (std::int64_t unit = 0; unit < whole; unit += lanes<V>) run_at<V, true>(s, sample, unit);
      if (whole < s.hidden) run_at<V, false>(s, sample, whole);
    }
  }

 private:
  template <class V, bool Whole>
  static LOCKSTEP_ALWAYS_INLINE void run_at(const backward_step& s, std::int64_t sample, std::int64_t unit) {
    const std::int64_t left = s.hidden - unit;
    const std::int64_t at = sample * s.hidden + unit;
    float* const values = s.kept + sample * kept * s.hidden + unit;
    float* const d_state = s.d_states + sample * s.row + unit;
    V dh;
    load(dh, d_state);
    if (s.dy != nullptr) {
      V above;
      take<Whole>(above, s.dy + sample * s.dy_row + unit, left);
      dh += above;
    }
    array_of<V, kept> v;
    if constexpr (kept > 1)
#pragma GCC unroll 4
      for (int g = 0; g < kept; ++g) take<Whole>(v[g], values + g * s.hidden, left);
    V past{};
    if constexpr (Cell == recurrent_cell::lstm) {
      V c, c_before, dc;
      take<Whole>(c, s.cells + at, left);
      take<Whole>(c_before, s.cells_before + at, left);
      float* const d_cell = s.d_cells + sample * s.row + unit;
      load(dc, d_cell);
      detail::take_tanh(c);
      dc += dh * v[3] * (1.F - c * c);
      const V d_output = dh * c * v[3] * (1.F - v[3]);
      const V d_input = dc * v[2] * v[0] * (1.F - v[0]);
      const V d_candidate = dc * v[0] * (1.F - v[2] * v[2]);
      dc *= v[1];  // which the forget gate's gradient has as a factor too
      v[1] = dc * c_before * (1.F - v[1]);
      v[0] = d_input;
      v[2] = d_candidate;
      v[3] = d_output;
      store(d_cell, dc);
    } else if constexpr (Cell == recurrent_cell::gru) {
      V h;
      take<Whole>(h, s.before + at, left);
      const V inner = dh * (1.F - v[1]) * (1.F - v[2] * v[2]);
      past = dh * v[1];
      v[1] = past * (h - v[2]) * (1.F - v[1]);
      v[2] = inner;
      const V d_reset = inner * v[3] * v[0] * (1.F - v[0]);
      v[3] = inner * v[0];
      v[0] = d_reset;
    } else {
      V h;
      take<Whole>(h, s.states + at, left);
      if constexpr (Cell == recurrent_cell::tanh)
        dh *= 1.F - h * h;
      else
        mask(h, dh);
      v[0] = dh;
    }
    store(d_state, past);
#pragma GCC unroll 4
    for (int g = 0; g < kept; ++g) {
      float* const sum = s.d_bias + g * s.hidden + unit;
      V total;
      take<Whole>(total, sum, left);
      total += v[g];
      give<Whole>(sum, total, left);
      give<Whole>(values + g * s.hidden, v[g], left);
    }
  }
};

/// What the product of a step reads: `depth` gradients of gates from the beginning of a row, and `more` from `skip` on.
struct backward_product {
  std::int64_t hidden;
  std::int64_t row;
  std::int64_t kept_row;
  std::int64_t depth;
  std::int64_t skip;
  std::int64_t more;
  const float* kept;
  float* d_states;
};

/// `tiles` tiles of `Rows` samples from sample `first`: d_states += gradients of the gates * weight_hh.
template <int Rows>
struct product_tiles {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const backward_product& p, const float* panel, std::int64_t unit,
                                         std::int64_t first, std::int64_t tiles) {
    constexpr std::int64_t width = product_vectors * lanes<V>;
    for (; tiles > 0; --tiles, first += Rows) {
      float* const to = p.d_states + first * p.row + unit;
      const float* const from = p.kept + first * p.kept_row;
      matrix_of<V, Rows, product_vectors> sum;
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < product_vectors; ++v) load(sum[r][v], to + r * p.row + lanes<V> * v);
      multiply_add<V, Rows, product_vectors>(p.depth, from, p.kept_row, 1, panel, width, lanes<V>, sum);
      if (p.more > 0)
        multiply_add<V, Rows, product_vectors>(p.more, from + p.skip, p.kept_row, 1, panel + p.depth * width, width,
                                               lanes<V>, sum);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < product_vectors; ++v) store(to + r * p.row + lanes<V> * v, sum[r][v]);
    }
  }
};

/// The product of a step of `samples` samples. Cost: 2 samples gates hidden^2 flops; the weights are read once.
template <class V>
void multiply_backward(const backward_product& p, const float* panels, std::int64_t samples) {
  constexpr std::int64_t width = product_vectors * lanes<V>;
  constexpr int most_rows = lanes<V> == 16 ? 8 : 6;
  for (std::int64_t unit = 0; unit < p.hidden; unit += width, panels += (p.depth + p.more) * width)
    each_height<most_rows>(samples, [&](auto rows, std::int64_t first, std::int64_t tiles) {
      run_for<V, product_tiles<rows>>(p, panels, unit, first, tiles);
    });
}

}  // namespace lockstep::cpu_backend::recurrence
