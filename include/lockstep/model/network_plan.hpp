// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/element_order.hpp>
#include <lockstep/model/network.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// What a node of the plan does.
enum class node_kind : std::uint8_t {
  layer,             ///< runs a layer's op
  alias,             ///< flatten, or an output that is also another: a new name for the same elements
  sum,               ///< adds two values
  concat,            ///< puts values one after the other
  skip_begin,        ///< a new name for what arrives at a composite that may be skipped
  skip_end,          ///< hands on what the composite computes, or, skipped, what arrives there
  measure,           ///< measures a value over the whole batch, for the layer that normalises it
  to_channels_last,  ///< changes the user's order to the backend's
  to_plain,          ///< changes the backend's order to the user's
  to_activation,     ///< converts the user's elements to the type that a pass computes in
};

/// Marks "no buffer": the user's input, or a gradient that nobody needs.
inline constexpr std::int64_t no_buffer = -1;

/// Offsets from here on lie in the memory that a replica keeps for all samples of its shard; those below lie in the
/// arena, which the next micro-shard overwrites.
inline constexpr std::int64_t kept_base = std::int64_t{1} << 48U;

/// Two ranges of the arena, by their offsets; `from` is no_buffer when there is nothing to do.
struct arena_transfer {
  std::int64_t from = no_buffer;
  std::int64_t to = no_buffer;

  [[nodiscard]] constexpr bool needed() const { return from != no_buffer; }
};

/// A value that a node reads, and what becomes of its gradient in the node's backward.
struct plan_operand {
  int from = detail::user_input;        ///< the node that computes the value; below zero for an input
  bool gradient = false;                ///< somebody needs the value's gradient
  std::int64_t written_to = no_buffer;  ///< arena offset of what the node's backward writes for this operand
  arena_transfer copy;                  ///< then this copy is made
  arena_transfer add;                   ///< and then this range is added to that one
};

/// One node of the network, in order of execution, and the value that it computes. A layer that normalises the batch
/// adds a second operand to its output (`layer_traits::fuses_addition`); any other with several is a joint_layer.
/// Offsets and sizes of activations count elements of one sample.
struct plan_node {
  node_kind kind = node_kind::layer;
  int leaf = -1;        ///< index of the layer in the flat list; -1 for a junction, or a change of order or of elements
  int fused_leaf = -1;  ///< index of the relu that this node applies too
  int first_operand = 0;
  int operands = 0;
  dims in;  ///< of the first operand
  dims out;
  element_order order_in = element_order::plain;
  element_order order_out = element_order::plain;
  dims picture;                 ///< extents, before flatten, of a flattened channels-last input
  dims picture_out;             ///< of a flattened channels-last output
  unsigned token_operands = 0;  ///< bit k: value k that it reads are tokens
  bool converts = false;        ///< reads the user's elements where a pass computes in another type
  bool output_gradient_masked = false;
  bool mask_input = false;
  bool runs_backward = false;
  bool input_gradient = false;
  bool backward_reads_input = false;
  bool backward_reads_output = false;
  bool backward_in_place = false;
  bool backward_overwrites_input = false;
  bool backward_keeps_gradient = false;
  bool frozen = false;             ///< has parameters, and they do not learn
  bool shares = false;             ///< its parameters belong to an earlier node: they are tied
  bool adds_gradients = false;     ///< a later node of the same parameters has written its gradients before this one
  int skip = -1;                   ///< the innermost skippable composite that it is inside of, begins or ends
  int segment = 0;                 ///< a pass runs segment by segment: all micro-shards, then the next segment
  int partner = -1;                ///< of a node that measures, the layer's; of one that begins, the one that ends
  bool repeats_forward = false;    ///< backward first runs forward again, because of other micro-shards in between
  std::int64_t statistics = 0;     ///< first channel of this layer among the measured channels of all layers
  std::int64_t buffer_offset = 0;  ///< of its buffers
  std::int64_t parameter_offset = 0;
  std::int64_t parameter_size = 0;
  std::int64_t flops = 0;                     ///< forward, one sample
  std::int64_t output_buffer = no_buffer;     ///< arena offset of the output while training
  std::int64_t gradient_buffer = no_buffer;   ///< arena offset of the output's gradient
  std::int64_t gradient_copy = no_buffer;     ///< arena offset to copy it to before backward, which changes it
  std::int64_t inference_buffer = no_buffer;  ///< arena offset of the output in inference

  /// True when the node's value lies where that of its first operand does, and their gradients are the same.
  [[nodiscard]] constexpr bool hands_on() const {
    return kind == node_kind::alias || kind == node_kind::skip_begin || kind == node_kind::skip_end;
  }
  /// True when the node is a layer that adds another value to what it computes.
  [[nodiscard]] constexpr bool adds_value() const { return kind == node_kind::layer && operands > 1 && partner >= 0; }
  /// True when the node is a layer that computes from several values.
  [[nodiscard]] constexpr bool is_joint() const { return kind == node_kind::layer && operands > 1 && partner < 0; }
  /// True when the node has parameters that learn.
  [[nodiscard]] constexpr bool learns() const { return parameter_size > 0 && !frozen; }
  /// True when a range of the learning parameters is this node's.
  [[nodiscard]] constexpr bool owns_learning() const { return learns() && !shares; }

  [[nodiscard]] constexpr node_traits traits() const {
    return {.in = in,
            .out = out,
            .picture = picture.rank == 0 && order_in == element_order::channels_last ? picture_of(in) : picture,
            .relu = fused_leaf >= 0,
            .output_gradient_masked = output_gradient_masked,
            .mask_input = mask_input,
            .input_gradient = input_gradient,
            .parameter_gradient = !frozen};
  }
};

/// One parameter: where it lies in the flat range.
struct plan_parameter {
  int node = 0;
  int index = 0;  ///< among the layer's parameters
  dims shape;
  std::int64_t offset = 0;
  double bound = 0;
  double value = 0;
  double deviation = 0;
  std::int64_t zero_row = -1;
  bool buffer = false;  ///< no parameter: no optimizer changes it
  bool counts = false;  ///< holds whole numbers
  bool learns = false;
};

/// An output of the network: its extents, and the node that computes it.
struct plan_output {
  int node = detail::user_input;
  dims extents;
};

/// What a plan depends on of a backend.
struct plan_target {
  element_order picture_order = element_order::plain;
  bool converts = false;            ///< passes compute in another type than the user's elements
  bool adds_to_normalised = false;  ///< a batch normalisation can add a value to what it writes
};

/// The static plan of a network for one backend.
template <detail::network_size Size>
struct network_plan {
  static constexpr std::size_t input_count = detail::network_data<Size>::input_count;
  static constexpr std::size_t max_outputs = (std::max)(Size.outputs, std::size_t{1});
  // A change of order can come before every operand and every output. A layer that measures the batch has a node for
  // that. An output that is also another one has a node.
  static constexpr std::size_t max_nodes = Size.operations + Size.operands + Size.measures + max_outputs + Size.outputs;
  static constexpr std::size_t max_operands = 2 * Size.operands + Size.measures + max_outputs + Size.outputs;
  static constexpr std::size_t max_parameters = Size.leaves * parameter_list::max_count;

  std::array<dims, input_count> inputs{};
  dims input;   ///< of a network with one input; of rank 0 where it has several
  dims output;  ///< of a network with one output; of rank 0 where it has several
  int node_count = 0;
  int operand_count = 0;
  int parameter_tensors = 0;
  int output_count = 0;
  std::array<plan_output, max_outputs> outputs{};
  std::array<plan_node, max_nodes> nodes{};
  std::array<plan_operand, max_operands> operands{};
  std::array<plan_parameter, max_parameters> parameters{};
  std::int64_t parameter_count = 0;
  std::int64_t trainable_count = 0;  ///< parameters that learn: elements [0, trainable_count) of the flat range
  std::int64_t value_count = 0;      ///< parameters and buffers: all elements of the flat range
  std::int64_t forward_flops = 0;    ///< one sample
  std::int64_t training_flops = 0;   ///< one sample, forward and the gradients that somebody reads
  std::int64_t arena_size = 0;       ///< elements a sample, training
  std::int64_t unshared_size = 0;    ///< arena_size if every output and every gradient had its own range
  std::int64_t inference_arena_size = 0;
  int segments = 1;
  int measured_layers = 0;
  std::int64_t measured_channels = 0;
  std::int64_t kept_size = 0;     ///< elements a sample of the shard, kept from segment to segment
  std::int64_t working_size = 0;  ///< elements a sample that the pass through one segment works on, at most

  [[nodiscard]] constexpr plan_node& node(int i) { return nodes[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr const plan_node& node(int i) const { return nodes[static_cast<std::size_t>(i)]; }
  /// Value k that a node reads.
  [[nodiscard]] constexpr plan_operand& operand(const plan_node& of, int k) {
    return operands[static_cast<std::size_t>(of.first_operand + k)];
  }
  [[nodiscard]] constexpr const plan_operand& operand(const plan_node& of, int k) const {
    return operands[static_cast<std::size_t>(of.first_operand + k)];
  }
  /// The extents of what a node computes, or of an input.
  [[nodiscard]] constexpr const dims& extents_of(int value) const {
    return value < 0 ? inputs[detail::input_of(value)] : node(value).out;
  }
  /// The value that has the elements of `value`, past new names for them.
  [[nodiscard]] constexpr int origin_of(int value) const {
    while (value >= 0 && node(value).hands_on()) value = operand(node(value), 0).from;
    return value;
  }
};

}  // namespace lockstep
