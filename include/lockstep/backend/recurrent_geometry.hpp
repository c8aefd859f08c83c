// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// What a step of a recurrence computes: torch.nn.LSTM, GRU, and RNN with either nonlinearity.
enum class recurrent_cell : std::uint8_t { lstm, gru, tanh, relu };

/// One recurrent layer of one or two directions over samples (steps, in): a template argument of the primitive that a
/// backend prepares. Samples become (steps, directions * hidden), or the last states alone: (directions * hidden).
///
/// The parameters of a direction lie one after the other, in PyTorch's order: weight_ih (gates * hidden, in), weight_hh
/// (gates * hidden, hidden) and, with bias, bias_ih and bias_hh (gates * hidden). Those of the second direction, which
/// reads the steps from the last to the first, follow.
struct recurrent_geometry {
  recurrent_cell cell = recurrent_cell::lstm;
  std::int64_t steps = 1;
  std::int64_t in = 1;
  std::int64_t hidden = 1;
  std::int64_t directions = 1;
  bool bias = true;
  bool last_state = false;         ///< y is the state of each direction after its last step
  bool input_gradient = true;      ///< backward writes dx
  bool parameter_gradient = true;  ///< backward writes dw; else it does not touch it

  [[nodiscard]] constexpr std::int64_t gates() const {
    return cell == recurrent_cell::lstm ? 4 : cell == recurrent_cell::gru ? 3 : 1;
  }
  /// Rows of either weight.
  [[nodiscard]] constexpr std::int64_t rows() const { return gates() * hidden; }
  [[nodiscard]] constexpr std::int64_t in_size() const { return steps * in; }
  [[nodiscard]] constexpr std::int64_t out_size() const { return (last_state ? 1 : steps) * directions * hidden; }
  /// Numbers of a state of one direction: h, and after it c of an lstm.
  [[nodiscard]] constexpr std::int64_t state_size() const { return (cell == recurrent_cell::lstm ? 2 : 1) * hidden; }
  /// Parameters of a direction.
  [[nodiscard]] constexpr std::int64_t direction_size() const { return rows() * (in + hidden + (bias ? 2 : 0)); }

  friend constexpr bool operator==(const recurrent_geometry&, const recurrent_geometry&) = default;
};

/// The parameters of a direction, or their gradients, in a flat range.
template <class T>
struct recurrent_parameters {
  T* weight_ih;
  T* weight_hh;
  T* bias_ih;  ///< null without bias
  T* bias_hh;

  constexpr recurrent_parameters(const recurrent_geometry& g, std::int64_t direction, T* all)
      : weight_ih(all + direction * g.direction_size()),
        weight_hh(weight_ih + g.rows() * g.in),
        bias_ih(g.bias ? weight_hh + g.rows() * g.hidden : nullptr),
        bias_hh(g.bias ? bias_ih + g.rows() : nullptr) {}
};

}  // namespace lockstep
