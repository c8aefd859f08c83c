// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/inference/value_layout.hpp>
#include <lockstep/model/network.hpp>

/// \file
/// A prediction as data: its steps in order, the values between them, and where each lies.

namespace lockstep::detail::infer {

/// The kernel of a step.
enum class step_kind : std::uint8_t {
  linear,             ///< vectors along outputs
  dot,                ///< vectors along inputs, for few outputs
  convolution,        ///< vectors along output channels
  pixel_convolution,  ///< vectors along a row, for few output channels
  loop_convolution,   ///< groups of channels
  pooling,
  resampling,
  scale,  ///< a batch normalisation
  sample_norm,
  softmax,
  recurrent,
  map,
  relu,
  sum,
  concat,
  copy,  ///< to another order
};

/// One step. Of its operands, the second of a sum is added to the first; `addend` is added to what another kind of step
/// computes. `folded` is the batch normalisation that its weights include.
struct step {
  step_kind kind = step_kind::copy;
  int leaf = -1;
  int folded = -1;
  bool relu = false;
  int first_operand = 0;
  int operands = 0;
  int addend = -1;
  int out = -1;
  int scratch = -1;          ///< a value: the operand in a frame of zeros, or the states of a recurrent layer
  std::int64_t packed = 0;   ///< where its weights begin
  std::int64_t carried = 0;  ///< where its state begins among those that the caller keeps
};

enum class place : std::uint8_t { input, arena, output };

/// A value between steps, and the steps from its first to its last use.
struct value {
  value_layout layout;
  int root = -1;  ///< the value whose memory this is, itself or by another name
  place where = place::arena;
  std::int64_t offset = 0;
  int first = 0;
  int last = 0;
};

/// The steps of a network for one vector width. Offsets count floats of one sample.
template <network_size Size>
struct program {
  // Each operand, output and operation may be copied into another order first; a flattened value has two names.
  static constexpr std::size_t max_steps = 2 * Size.operations + Size.operands + 2;
  static constexpr std::size_t max_operands = 3 * (Size.operations + Size.operands) + 4;
  static constexpr std::size_t max_values = 3 * Size.operations + Size.operands + 4;

  std::array<step, max_steps> steps{};
  std::array<int, max_operands> operands{};
  std::array<value, max_values> values{};
  int step_count = 0;
  int operand_count = 0;
  int value_count = 0;
  int unsupported = -1;  ///< a leaf that there is no kernel for
  std::int64_t arena_size = 0;
  std::int64_t packed_size = 0;
  std::int64_t carried_size = 0;  ///< floats of the states after the last step, for recurrent layers of one direction
  bool reads_back = false;        ///< a layer reads the steps from the last to the first

  [[nodiscard]] constexpr step& at(int i) { return steps[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr const step& at(int i) const { return steps[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr value& value_at(int i) { return values[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr const value& value_at(int i) const { return values[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr int operand(const step& s, int k) const {
    return operands[static_cast<std::size_t>(s.first_operand + k)];
  }
  [[nodiscard]] constexpr const value_layout& layout(int v) const { return value_at(v).layout; }
  [[nodiscard]] constexpr const value_layout& in(const step& s) const { return layout(operand(s, 0)); }
  [[nodiscard]] constexpr const value_layout& out(const step& s) const { return layout(s.out); }
};

}  // namespace lockstep::detail::infer
