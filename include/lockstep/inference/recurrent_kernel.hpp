// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/element_functions.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/inference/value_layout.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// Recurrent layers, step by step, each as one product with the weights of both the input and the state.

namespace lockstep::detail::infer {

/// A recurrent layer on rows that lie `in_row` floats apart, and as many floats of an output row, gaps included.
struct recurrent_shape {
  recurrent_geometry g{};
  std::int64_t in_row = 0;
  std::int64_t out_row = 0;

  friend constexpr bool operator==(const recurrent_shape&, const recurrent_shape&) = default;
};

/// Sums of a unit before the functions of its cell: those of its gates, and of a gru's n the state's part apart.
[[nodiscard]] constexpr std::int64_t sums_of(const recurrent_geometry& g) {
  return g.cell == recurrent_cell::gru ? 4 : g.gates();
}
/// Floats of the packed weights of a direction: by vectors of units, the biases of all sums, then the weights of the
/// gates for each input, and for each unit of the state.
[[nodiscard]] constexpr std::int64_t packed_direction(const recurrent_geometry& g, std::int64_t vector) {
  return round_up(g.hidden, vector) * (sums_of(g) + (g.in + g.hidden) * g.gates());
}
/// Floats of the state after a step: h, and of an lstm c.
[[nodiscard]] constexpr std::int64_t carried_size(const recurrent_geometry& g) {
  return g.hidden * (g.cell == recurrent_cell::lstm ? 2 : 1);
}

inline void pack_recurrent(const recurrent_geometry& g, std::int64_t vector, const float* tensors, float* to) {
  for (std::int64_t d = 0; d < g.directions; ++d) {
    const recurrent_parameters<const float> w(g, d, tensors);
    const bool is_gru = g.cell == recurrent_cell::gru;
    // Sum s of unit u. The fourth of a gru is b of n, the third a.
    const auto bias = [&](std::int64_t s, std::int64_t u) {
      if (!g.bias) return 0.F;
      if (is_gru && s == 3) return w.bias_hh[2 * g.hidden + u];
      const std::int64_t row = s * g.hidden + u;
      return is_gru && s == 2 ? w.bias_ih[row] : w.bias_ih[row] + w.bias_hh[row];
    };
    for (std::int64_t first = 0; first < g.hidden; first += vector) {
      const auto write = [&](std::int64_t count, const auto& value) {
        for (std::int64_t k = 0; k < count; ++k)
          for (std::int64_t u = first; u < first + vector; ++u) *to++ = u < g.hidden ? value(k, u) : 0.F;
      };
      write(sums_of(g), bias);
      write(g.in * g.gates(), [&](std::int64_t k, std::int64_t u) {
        return w.weight_ih[(k % g.gates() * g.hidden + u) * g.in + k / g.gates()];
      });
      write(g.hidden * g.gates(), [&](std::int64_t k, std::int64_t u) {
        return w.weight_hh[(k % g.gates() * g.hidden + u) * g.hidden + k / g.gates()];
      });
    }
  }
}

/// One sample. `scratch` has room for two states and the cells, each of whole vectors. `carried` is null, or the state
/// that the steps begin with, and which becomes that of the last.
template <recurrent_shape S>
struct recurrent_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, float* y, float* scratch, float* carried) {
    constexpr std::int64_t padded = round_up(g.hidden, lanes<V>);
    for (std::int64_t d = 0; d < g.directions; ++d, w += packed_direction(g, lanes<V>), y += g.hidden) {
      float* before = scratch;
      float* after = scratch + padded;
      float* const cells = scratch + 2 * padded;
      std::fill_n(scratch, 3 * padded, 0.F);
      if (carried != nullptr) {
        std::copy_n(carried, g.hidden, before);
        if constexpr (is_lstm) std::copy_n(carried + g.hidden, g.hidden, cells);
      }
      for (std::int64_t k = 0; k < g.steps; ++k) {
        const std::int64_t t = d == 0 ? k : g.steps - 1 - k;
        run_step<V>(w, x + t * S.in_row, before, after, cells);
        std::swap(before, after);
        if (g.last_state && k + 1 < g.steps) continue;
        float* const row = y + (g.last_state ? 0 : t * S.out_row);
        std::copy_n(before, g.hidden, row);
        if (d + 1 == g.directions) std::fill(row + g.hidden, row + S.out_row - d * g.hidden, 0.F);
      }
      if (carried != nullptr) {
        std::copy_n(before, g.hidden, carried);
        if constexpr (is_lstm) std::copy_n(cells, g.hidden, carried + g.hidden);
      }
    }
  }

 private:
  static constexpr recurrent_geometry g = S.g;
  static constexpr bool is_lstm = g.cell == recurrent_cell::lstm;
  static constexpr bool is_gru = g.cell == recurrent_cell::gru;
  static constexpr int gates = static_cast<int>(g.gates());
  static constexpr int sums = static_cast<int>(sums_of(g));
  /// Sums that do not wait for each other.
  static constexpr int chains = 2;

  template <class V>
  using sums_type = cpu_backend::matrix_of<V, chains, sums>;

  /// Calls f on a vector, or, of four lanes, on each: functions know longer ones.
  template <class V, class F>
  static LOCKSTEP_ALWAYS_INLINE void apply(V& v, const F& f) {
    if constexpr (lanes<V> == 4) {
      for (int i = 0; i < 4; ++i) {
        float one = v[i];
        f(one);
        v[i] = one;
      }
    } else {
      f(v);
    }
  }

  template <bool OfState, std::int64_t Count, class V>
  static LOCKSTEP_ALWAYS_INLINE void multiply(const float* LOCKSTEP_RESTRICT from, const float* LOCKSTEP_RESTRICT w,
                                              sums_type<V>& sum) {
    const auto add = [&](std::int64_t k, int chain) __attribute__((always_inline)) {
      V value;
      spread(value, from[k]);
#pragma GCC unroll 4
      for (int s = 0; s < gates; ++s) {
        V weights;
        load(weights, w + (k * gates + s) * lanes<V>);
        sum[chain][OfState && is_gru && s == 2 ? 3 : s] += value * weights;
      }
    };
#pragma GCC unroll 2
    for (std::int64_t k = 0; k + chains <= Count; k += chains) {
      add(k, 0);
      add(k + 1, 1);
    }
    if constexpr (Count % chains != 0) add(Count - 1, 0);
  }

  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run_step(const float* w, const float* x, const float* before, float* after,
                                              float* cells) {
    const auto sigmoid = [](auto& v) __attribute__((always_inline)) { take_sigmoid(v); };
    const auto tangent = [](auto& v) __attribute__((always_inline)) { take_tanh(v); };
    for (std::int64_t unit = 0; unit < g.hidden; unit += lanes<V>) {
      sums_type<V> sum = {};
#pragma GCC unroll 4
      for (int s = 0; s < sums; ++s) load(sum[0][s], w + s * lanes<V>);
      w += sums * lanes<V>;
      multiply<false, g.in, V>(x, w, sum);
      w += g.in * gates * lanes<V>;
      multiply<true, g.hidden, V>(before, w, sum);
      w += g.hidden * gates * lanes<V>;
      cpu_backend::array_of<V, sums> gate;
#pragma GCC unroll 4
      for (int s = 0; s < sums; ++s) gate[s] = sum[0][s] + sum[1][s];
      V h;
      if constexpr (is_lstm) {
        V c;
        load(c, cells + unit);
        apply(gate[0], sigmoid);
        apply(gate[1], sigmoid);
        apply(gate[2], tangent);
        apply(gate[3], sigmoid);
        c = gate[1] * c + gate[0] * gate[2];
        store(cells + unit, c);
        apply(c, tangent);
        h = gate[3] * c;
      } else if constexpr (is_gru) {
        load(h, before + unit);
        apply(gate[0], sigmoid);
        apply(gate[1], sigmoid);
        gate[2] += gate[0] * gate[3];
        apply(gate[2], tangent);
        h = gate[2] + gate[1] * (h - gate[2]);
      } else {
        h = gate[0];
        if constexpr (g.cell == recurrent_cell::tanh)
          apply(h, tangent);
        else
          rectify(h);
      }
      store(after + unit, h);
    }
  }
};

}  // namespace lockstep::detail::infer
