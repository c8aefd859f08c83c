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
/// A forward step of a recurrent layer for all samples: the product of their states with weight_hh, and the cell, which
/// works on the sums while they are in registers.

namespace lockstep::cpu_backend::recurrence {

/// Gates of a cell.
[[nodiscard]] constexpr int gates_of(recurrent_cell cell) {
  return static_cast<int>(recurrent_geometry{.cell = cell}.gates());
}
/// Arrays of `hidden` floats that a step of a sample keeps: its gates, and of a gru the state's part of n as well.
[[nodiscard]] constexpr int kept_of(recurrent_cell cell) { return cell == recurrent_cell::gru ? 4 : gates_of(cell); }

/// The arrays of a step: rows of all samples, one after the other.
struct forward_step {
  std::int64_t hidden;
  std::int64_t depth;  ///< of the product: `hidden`, or 0 where the states before are zeros
  const float* panels;
  const float* bias;  ///< `kept` arrays of `hidden`: of each gate; a gru's n has bias_ih, and last that of the state
  const float* before;
  const float* cells_before;  ///< of an lstm
  float* kept;  ///< the products of the inputs with weight_ih; becomes the gates' values, and a gru's b of n
  float* cells;
  float* states;
};

/// Rows of a tile: as many sums as fit in the registers beside what they are made of.
template <class V, recurrent_cell Cell>
inline constexpr int forward_rows =
    lanes<V> == 16 ? (gates_of(Cell) == 1 ? 8 : 24 / gates_of(Cell)) : (gates_of(Cell) == 1 ? 8 : 12 / gates_of(Cell));

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

/// `tiles` tiles of `Rows` samples from sample `first`, for a vector of units from `unit`. `Whole`: as many units are
/// left.
template <recurrent_cell Cell, int Rows, bool Whole>
struct forward_tiles {
  static constexpr int gates = gates_of(Cell);
  static constexpr int kept = kept_of(Cell);

  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const forward_step& s, std::int64_t unit, std::int64_t first,
                                         std::int64_t tiles) {
    const float* const panel = s.panels + unit * gates * s.hidden;
    for (; tiles > 0; --tiles, first += Rows) {
      matrix_of<V, Rows, gates> sum;
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int g = 0; g < gates; ++g) {
          // The state's part of a gru's n stays apart from the input's.
          const bool apart = Cell == recurrent_cell::gru && g == 2;
          take(s, unit, sum[r][g], s.bias + (apart ? 3 : g) * s.hidden);
          if (apart) continue;
          V input;
          take(s, unit, input, s.kept + ((first + r) * kept + g) * s.hidden);
          sum[r][g] += input;
        }
      multiply_states<V, Rows, gates>(s.depth, s.hidden, s.before + first * s.hidden, panel, sum);
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r) finish<V>(s, unit, first + r, sum[r]);
    }
  }

 private:
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void take(const forward_step& s, std::int64_t unit, V& v, const float* row) {
    if constexpr (Whole)
      load(v, row + unit);
    else
      load_first(v, row + unit, s.hidden - unit);
  }
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void give(const forward_step& s, std::int64_t unit, float* row, const V& v) {
    if constexpr (Whole)
      store(row + unit, v);
    else
      store_first(row + unit, v, s.hidden - unit);
  }

  /// The cell. Reads all it needs of the step before it writes.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void finish(const forward_step& s, std::int64_t unit, std::int64_t sample,
                                            array_of<V, gates>& gate) {
    float* const values = s.kept + sample * kept * s.hidden;
    float* const state = s.states + sample * s.hidden;
    if constexpr (Cell == recurrent_cell::lstm) {
      V c;
      take(s, unit, c, s.cells_before + sample * s.hidden);
      detail::take_sigmoid(gate[0]);
      detail::take_sigmoid(gate[1]);
      detail::take_tanh(gate[2]);
      detail::take_sigmoid(gate[3]);
#pragma GCC unroll 4
      for (int g = 0; g < gates; ++g) give(s, unit, values + g * s.hidden, gate[g]);
      c = gate[1] * c + gate[0] * gate[2];
      give(s, unit, s.cells + sample * s.hidden, c);
      detail::take_tanh(c);
      c *= gate[3];
      give(s, unit, state, c);
    } else if constexpr (Cell == recurrent_cell::gru) {
      V h, n, bias;
      take(s, unit, h, s.before + sample * s.hidden);
      take(s, unit, n, values + 2 * s.hidden);
      take(s, unit, bias, s.bias + 2 * s.hidden);
      n += bias;
      detail::take_sigmoid(gate[0]);
      detail::take_sigmoid(gate[1]);
      n += gate[0] * gate[2];
      detail::take_tanh(n);
      give(s, unit, values, gate[0]);
      give(s, unit, values + s.hidden, gate[1]);
      give(s, unit, values + 2 * s.hidden, n);
      give(s, unit, values + 3 * s.hidden, gate[2]);
      h = n + gate[1] * (h - n);
      give(s, unit, state, h);
    } else {
      if constexpr (Cell == recurrent_cell::tanh)
        detail::take_tanh(gate[0]);
      else
        relu(gate[0]);
      give(s, unit, state, gate[0]);
    }
  }
};

/// One step of `samples` samples. Cost: 2 samples gates hidden^2 flops; the weights are read once.
template <class V, recurrent_cell Cell>
void forward(const forward_step& s, std::int64_t samples) {
  std::int64_t unit = 0;
  for (; unit + lanes<V> <= s.hidden; unit += lanes<V>)
    each_height<forward_rows<V, Cell>>(samples, [&](auto rows, std::int64_t first, std::int64_t tiles) {
      run_for<V, forward_tiles<Cell, rows, true>>(s, unit, first, tiles);
    });
  if (unit < s.hidden) run_for<V, forward_tiles<Cell, 1, false>>(s, unit, std::int64_t{0}, samples);
}

}  // namespace lockstep::cpu_backend::recurrence
