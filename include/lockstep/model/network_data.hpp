// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include <lockstep/core/shape.hpp>
#include <lockstep/model/lowering.hpp>
#include <lockstep/model/path.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// A network as data: its layers, and the operations on values in the order of execution.

namespace lockstep::detail {

/// The value that the user gives, or the first of them. All other values go by the operation that computes them.
inline constexpr int user_input = -1;
/// Input k of a model as a value, and the input that a value is.
[[nodiscard]] constexpr int input_value(std::size_t k) { return user_input - static_cast<int>(k); }
[[nodiscard]] constexpr std::size_t input_of(int value) { return static_cast<std::size_t>(user_input - value); }
/// Stand for the values of several outputs, which no operation reads, and for all inputs before `from` has chosen one.
inline constexpr int several_outputs = (std::numeric_limits<int>::min)();
inline constexpr int several_inputs = several_outputs + 1;

/// A layer at its place in a network.
struct placed_leaf {
  std::string_view kind;
  layer_traits traits;
  dims in;
  std::array<dims, layer_traits::max_operands - 1>
      further{};  ///< of the values that a joint_layer reads after the first
  dims out;
  parameter_list parameters;
  std::int64_t flops = 0;
  path_hash path;
  bool frozen = false;
  bool tied = false;
  int part = 0;    ///< of the stack of layers that it belongs to
  int owner = -1;  ///< the first leaf that has these parameters: itself unless tied
};

/// One operation: a layer, or a junction of values.
struct operation {
  int leaf = -1;  ///< -1 for a junction
  junction joins = junction::sum;
  int first_operand = 0;
  int operands = 0;
  int readers = 0;  ///< operations that read its value; the loss or the user is one too
  int skip = -1;    ///< the innermost skippable composite that it belongs to: one it is inside of, begins or ends
  dims out;
};

/// A composite that may be skipped.
struct skippable_part {
  int parent = -1;  ///< the innermost other one around it
  std::size_t first_leaf = 0;
  std::size_t last_leaf = 0;  ///< one past its last
};

/// What is wrong with an operation.
enum class network_fault : std::uint8_t {
  none,
  sum_of_unlike,
  concat_of_unlike,
  skipped_unlike,
  tied_unlike,
  tied_skippable,
  tied_measuring,
  outputs_not_last,
  inputs_as_one,
  unknown_input,
  unread_input,
  unread_value,
  unread_binding,
  tokens_as_values,
  values_as_tokens
};

/// True for a fault in the wiring: a value that stands in the wrong place. The extents after it mean nothing.
[[nodiscard]] constexpr bool misleads(network_fault what) { return what >= network_fault::outputs_not_last; }

/// The first fault of a network.
struct found_fault {
  network_fault what = network_fault::none;
  std::size_t leaves_before = 0;
  dims one;
  dims other;
};

/// A value that the user gives.
struct network_input {
  std::string_view name;  ///< empty for the only input
  dims extents;
  int readers = 0;
  bool tokens = false;
  std::int64_t vocabulary = 0;  ///< of tokens: every reader knows those below it; 0 without readers
};

/// A value that the network hands to the user and to a loss.
struct network_output {
  int value = user_input;
  dims extents;
  std::string_view name;  ///< empty for an output without a name
};

/// A network that has been lowered.
template <network_size Size>
struct network_data {
  static constexpr std::size_t max_outputs = (std::max)(Size.outputs, std::size_t{1});
  static constexpr std::size_t input_count = (std::max)(Size.inputs, std::size_t{1});

  std::array<network_input, input_count> inputs{};
  std::array<placed_leaf, Size.leaves> leaves{};
  std::array<operation, Size.operations> operations{};
  std::array<int, Size.operands> operands{};  ///< values
  std::array<network_output, max_outputs> outputs{};
  std::array<skippable_part, Size.skips> skips{};  ///< those around others come before these
  int output_count = 0;
  found_fault fault;
  std::string_view fault_name;  ///< of an input, where the fault has to do with one
};

}  // namespace lockstep::detail
