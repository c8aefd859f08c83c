// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/recurrent/panels.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/element_functions.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// A forward step of a recurrent layer for all samples: the product of their states with weight_hh, added to that of
/// the inputs, and then the cell. One kernel for both would want more registers than there are.

namespace lockstep::cpu_backend::recurrence {

/// Gates of a cell.
[[nodiscard]] constexpr int gates_of(recurrent_cell cell) {
  return static_cast<int>(recurrent_geometry{.cell = cell}.gates());
}
/// Arrays of `hidden` floats that a step of a sample keeps: its gates, and of a gru the state's part of n as well.
[[nodiscard]] constexpr int kept_of(recurrent_cell cell) { return cell == recurrent_cell::gru ? 4 : gates_of(cell); }

/// The arrays of a step: rows of all samples, one after the other.
struct forward_step {
  std::int64_t samples;
  std::int64_t hidden;
  bool first;  ///< the states before are zeros, and have no product
  const float* panels;
  const float* bias;    ///< `kept` arrays of `hidden`: of each gate; a gru's n has bias_ih, and last that of the state
  const float* before;  ///< states
  const float* cells_before;  ///< of an lstm
  float* kept;  ///< the products of the inputs with weight_ih; becomes the gates' values, and a gru's b of n
  float* cells;
  float* states;
};

/// Part of a product: units [first, first + depth) of the states before.
struct forward_part {
  std::int64_t first;
  std::int64_t depth;
  bool apart;  ///< the last gate begins with this product, in the place of a fourth
};

/// Rows of a tile: as many sums as fit in the registers beside what they are made of.
template <class V, int Gates>
inline constexpr int forward_rows = Gates == 1 ? 8 : (lanes<V> == 16 ? 24 : 12) / Gates;

/// sum[r][g] += sum over k of states[r][k] * (vector g of row k of the panel).
template <class V, int Rows, int Gates>
LOCKSTEP_ALWAYS_INLINE void multiply_states(std::int64_t depth, std::int64_t row, const float* LOCKSTEP_RESTRICT states,
                                            const float* LOCKSTEP_RESTRICT panel, matrix_of<V, Rows, Gates>& sum) {
#pragma GCC unroll 2
  for (std::int64_t k = 0; k < depth; ++k, panel += Gates * lanes<V>) {
    // The fewer of the two stay in registers.
    if constexpr (Rows <= Gates) {
      array_of<V, Rows> state;
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r) {
        broadcast(state[r], states[r * row + k]);
        LOCKSTEP_IN_REGISTER(state[r]);
      }
#pragma GCC unroll 4
      for (int g = 0; g < Gates; ++g) {
        V weights;
        load(weights, panel + g * lanes<V>);
#pragma GCC unroll 12
        for (int r = 0; r < Rows; ++r) sum[r][g] += state[r] * weights;
      }
    } else {
      array_of<V, Gates> weights;
#pragma GCC unroll 4
      for (int g = 0; g < Gates; ++g) {
        load(weights[g], panel + g * lanes<V>);
        LOCKSTEP_IN_REGISTER(weights[g]);
      }
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r) {
        V state;
        broadcast(state, states[r * row + k]);
#pragma GCC unroll 4
        for (int g = 0; g < Gates; ++g) sum[r][g] += state * weights[g];
      }
    }
  }
}

/// A vector of units; not `Whole`: only `left` of them.
template <bool Whole, class V>
LOCKSTEP_ALWAYS_INLINE void take(V& v, const float* from, std::int64_t left) {
  if constexpr (Whole)
    load(v, from);
  else
    load_first(v, from, left);
}
template <bool Whole, class V>
LOCKSTEP_ALWAYS_INLINE void give(float* to, const V& v, std::int64_t left) {
  if constexpr (Whole)
    store(to, v);
  else
    store_first(to, v, left);
}

/// `tiles` tiles of `Rows` samples from sample `first`, for a vector of units from `unit`: kept += states * weight_hh.
template <int Gates, int Kept, int Rows, bool Whole>
struct forward_tiles {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const forward_step& s, const forward_part& part, std::int64_t unit,
                                         std::int64_t first, std::int64_t tiles) {
    const float* const panel = s.panels + (unit * s.hidden + part.first * lanes<V>)*Gates;
    const std::int64_t left = s.hidden - unit;
    for (; tiles > 0; --tiles, first += Rows) {
      float* const kept = s.kept + first * Kept * s.hidden + unit;
      matrix_of<V, Rows, Gates> sum = {};
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int g = 0; g < Gates; ++g)
          if (g + 1 < Gates || !part.apart) take<Whole>(sum[r][g], kept + (r * Kept + place(g)) * s.hidden, left);
      multiply_states<V, Rows, Gates>(part.depth, s.hidden, s.before + first * s.hidden + part.first, panel, sum);
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int g = 0; g < Gates; ++g) give<Whole>(kept + (r * Kept + place(g)) * s.hidden, sum[r][g], left);
    }
  }

 private:
  /// The state's part of a gru's n stays apart from the input's.
  static constexpr int place(int gate) { return gate + 1 == Gates ? Kept - 1 : gate; }
};

/// The cell, for all units of all samples.
template <recurrent_cell Cell>
struct forward_cells {
  static constexpr int kept = kept_of(Cell);

  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const forward_step& s) {
    const std::int64_t whole = s.hidden / lanes<V> * lanes<V>;
    for (std::int64_t sample = 0; sample < s.samples; ++sample) {
      for (std::int64_t unit = 0; unit < whole; unit += lanes<V>) run_at<V, true>(s, sample, unit);
      if (whole < s.hidden) run_at<V, false>(s, sample, whole);
    }
  }

 private:
  template <class V, bool Whole>
  static LOCKSTEP_ALWAYS_INLINE void run_at(const forward_step& s, std::int64_t sample, std::int64_t unit) {
    const std::int64_t left = s.hidden - unit;
    const std::int64_t at = sample * s.hidden + unit;
    float* const values = s.kept + sample * kept * s.hidden + unit;
    array_of<V, kept> gate;
#pragma GCC unroll 4
    for (int g = 0; g < kept; ++g) {
      take<Whole>(gate[g], s.bias + g * s.hidden + unit, left);
      V product;
      take<Whole>(product, values + g * s.hidden, left);
      if (g < gates_of(Cell) || !s.first) gate[g] += product;
    }
    V h;
    if constexpr (Cell == recurrent_cell::lstm) {
      V c;
      take<Whole>(c, s.cells_before + at, left);
      detail::take_sigmoid(gate[0]);
      detail::take_sigmoid(gate[1]);
      detail::take_tanh(gate[2]);
      detail::take_sigmoid(gate[3]);
      c = gate[1] * c + gate[0] * gate[2];
      give<Whole>(s.cells + at, c, left);
      detail::take_tanh(c);
      h = gate[3] * c;
    } else if constexpr (Cell == recurrent_cell::gru) {
      take<Whole>(h, s.before + at, left);
      detail::take_sigmoid(gate[0]);
      detail::take_sigmoid(gate[1]);
      gate[2] += gate[0] * gate[3];
      detail::take_tanh(gate[2]);
      h = gate[2] + gate[1] * (h - gate[2]);
    } else {
      h = gate[0];
      if constexpr (Cell == recurrent_cell::tanh)
        detail::take_tanh(h);
      else
        relu(h);
    }
    give<Whole>(s.states + at, h, left);
    if constexpr (kept > 1)
#pragma GCC unroll 4
      for (int g = 0; g < kept; ++g) give<Whole>(values + g * s.hidden, gate[g], left);
  }
};

/// One step. Cost: 2 samples gates hidden^2 flops; the weights are read once.
template <class V, recurrent_cell Cell>
void forward(const forward_step& s) {
  constexpr int gates = gates_of(Cell);
  constexpr int kept = kept_of(Cell);
  constexpr std::int64_t deepest = 128;  // so much of a panel stays in the first-level cache beside the states
  for (std::int64_t unit = 0; unit < s.hidden; unit += lanes<V>) {
    const bool whole = unit + lanes<V> <= s.hidden;
    for (std::int64_t first = 0; first < s.hidden && !s.first; first += deepest) {
      const forward_part part{.first = first,
                              .depth = (std::min)(deepest, s.hidden - first),
                              .apart = Cell == recurrent_cell::gru && first == 0};
      if (whole)
        each_height<forward_rows<V, gates>>(s.samples, [&](auto rows, std::int64_t sample, std::int64_t tiles) {
          run_for<V, forward_tiles<gates, kept, rows, true>>(s, part, unit, sample, tiles);
        });
      else
        run_for<V, forward_tiles<gates, kept, 1, false>>(s, part, unit, std::int64_t{0}, s.samples);
    }
  }
  run_for<V, forward_cells<Cell>>(s);
}

}  // namespace lockstep::cpu_backend::recurrence
