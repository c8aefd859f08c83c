// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/element_order.hpp>
#include <lockstep/model/network_plan.hpp>
#include <lockstep/model/plan_parameters.hpp>

namespace lockstep::detail {

constexpr bool order_matters(const dims& sample) {
  const dims picture = picture_of(sample);
  return picture.rank == 3 && picture[0] > 1 && picture[1] * picture[2] > 1;
}

/// Builds the nodes of a plan: inserts changes of order and of type, fuses relu and sums into the nodes before them,
/// and has parameters placed.
template <network_size Size>
class node_builder {
 public:
  constexpr node_builder(network_plan<Size>& plan, const network_data<Size>& network, const plan_target& target)
      : plan_(plan),
        network_(network),
        picture_order_(target.picture_order),
        converts_(target.converts),
        adds_to_normalised_(target.adds_to_normalised),
        places_(plan, network) {}

  constexpr void build() {
    node_of_.fill(no_node);
    forms_.fill(form{});  // by hand: optimising, g++ 12 takes the elements' initial values from the builder before this
    for (std::size_t i = 0; i < Size.operations; ++i) {
      const operation& o = network_.operations[i];
      if (o.leaf >= 0 && leaf_of(o).traits.measures_batch)
        measure_of_[i] = add_measure(o);
      else if (o.leaf < 0)
        node_of_[i] = add_junction(o);
      else if (!fuse(o, node_of_[i]))
        node_of_[i] = add_leaf(o);
    }
    for (int k = 0; k < network_.output_count; ++k) add_output(network_.outputs[static_cast<std::size_t>(k)]);
    if (plan_.output_count == 1) plan_.output = plan_.outputs[0].extents;
    plan_.segments = segment_ + 1;
    places_.finish();
  }

 private:
  /// What later nodes must know of a node's value, and its forms in another order or type.
  struct form {
    bool raw = false;  ///< still the user's elements, where a pass computes in another type
    int channels_last = no_node;
    int plain = no_node;
    int activation = no_node;
  };
  static constexpr int no_node = several_outputs;

  [[nodiscard]] constexpr const placed_leaf& leaf_of(const operation& o) const {
    return network_.leaves[static_cast<std::size_t>(o.leaf)];
  }
  /// The node that computes a value. A layer that has measured the batch gets its node when somebody reads its value,
  /// so that layers which do not depend on each other measure in one segment.
  [[nodiscard]] constexpr int node_of(int value) {
    if (value < 0) return value;
    const auto i = static_cast<std::size_t>(value);
    if (node_of_[i] == no_node) node_of_[i] = add_normalising(network_.operations[i], measure_of_[i]);
    return node_of_[i];
  }
  [[nodiscard]] constexpr int operand_of(const operation& o, int k) {
    return node_of(network_.operands[static_cast<std::size_t>(o.first_operand + k)]);
  }
  [[nodiscard]] constexpr form& form_of(int node) {
    return forms_[static_cast<std::size_t>(node + static_cast<int>(plan_.inputs.size()))];
  }
  [[nodiscard]] constexpr element_order order_of(int node) const {
    return node < 0 ? element_order::plain : plan_.node(node).order_out;
  }
  [[nodiscard]] constexpr dims extents_of(int node) const { return plan_.extents_of(node); }
  [[nodiscard]] constexpr dims flattened_of(int node) const { return node < 0 ? dims{} : plan_.node(node).picture_out; }
  [[nodiscard]] constexpr bool is_raw(int node) { return node < 0 ? converts_ : form_of(node).raw; }

  /// Appends a node that reads `operands`.
  template <std::size_t Count>
  constexpr int push(plan_node node, const std::array<int, Count>& operands, int count) {
    node.segment = segment_;
    node.first_operand = plan_.operand_count;
    node.operands = count;
    for (int k = 0; k < count; ++k)
      plan_.operands[static_cast<std::size_t>(plan_.operand_count++)].from = operands[static_cast<std::size_t>(k)];
    plan_.node(plan_.node_count) = node;
    return plan_.node_count++;
  }
  constexpr int push(const plan_node& node, int operand) { return push(node, std::array{operand}, 1); }

  /// The innermost skippable composite around a node's value, or -1.
  [[nodiscard]] constexpr int skip_around(int node) const {
    if (node < 0) return -1;
    const plan_node& of = plan_.node(node);
    return of.kind == node_kind::skip_end ? network_.skips[static_cast<std::size_t>(of.skip)].parent : of.skip;
  }

  /// The value of `of` in another order or type; one node makes it for all readers.
  constexpr int converted(int of, element_order to, node_kind kind) {
    int& known = kind == node_kind::to_channels_last ? form_of(of).channels_last
                 : kind == node_kind::to_plain       ? form_of(of).plain
                                                     : form_of(of).activation;
    if (known != no_node) return known;
    const dims flattened = flattened_of(of);
    plan_node node;
    node.kind = kind;
    node.in = node.out = flattened.rank == 3                ? flattened
                         : kind == node_kind::to_activation ? extents_of(of)
                                                            : picture_of(extents_of(of));
    node.order_in = order_of(of);
    node.order_out = to;
    node.converts = is_raw(of);
    node.skip = skip_around(of);
    // A flattened sample stays flat in plain order.
    if (to == element_order::plain) node.out = extents_of(of);
    return known = push(node, of);
  }
  constexpr int in_plain_order(int node) {
    return order_of(node) == element_order::plain ? node : converted(node, element_order::plain, node_kind::to_plain);
  }
  constexpr int in_picture_order(int node) {
    return order_of(node) == picture_order_ || !order_matters(extents_of(node))
               ? node
               : converted(node, picture_order_, node_kind::to_channels_last);
  }
  constexpr int in_channels_last(int node) {
    return order_of(node) == element_order::channels_last || !order_matters(extents_of(node))
               ? node
               : converted(node, element_order::channels_last, node_kind::to_channels_last);
  }
  constexpr int as_activation(int node) {
    return is_raw(node) ? converted(node, order_of(node), node_kind::to_activation) : node;
  }

  constexpr void add_output(const network_output& output) {
    int last = in_plain_order(as_activation(node_of(output.value)));
    // Each output has a gradient of its own, and so a node of its own.
    for (int k = 0; k < plan_.output_count; ++k) {
      if (last < 0 || plan_.outputs[static_cast<std::size_t>(k)].node != last) continue;
      plan_node node;
      node.kind = node_kind::alias;
      node.in = node.out = output.extents;
      last = push(node, last);
    }
    plan_.outputs[static_cast<std::size_t>(plan_.output_count++)] = {.node = last, .extents = output.extents};
  }

  /// True when a relu became part of the node before it, which nobody else reads.
  constexpr bool fuse(const operation& o, int& node_of_relu) {
    const placed_leaf& leaf = leaf_of(o);
    const int value = network_.operands[static_cast<std::size_t>(o.first_operand)];
    if (!leaf.traits.is_relu || value < 0) return false;
    const operation& read = network_.operations[static_cast<std::size_t>(value)];
    plan_node& before = plan_.node(node_of(value));
    const bool fuses =
        before.kind == node_kind::sum ||
        (before.kind == node_kind::layer && network_.leaves[static_cast<std::size_t>(before.leaf)].traits.fuses_relu);
    if (!fuses || before.fused_leaf >= 0 || read.readers > 1) return false;
    before.fused_leaf = o.leaf;
    before.backward_reads_output = true;
    before.flops = checked_add(before.flops, leaf.flops);
    node_of_relu = node_of(value);
    return true;
  }

  constexpr int add_leaf(const operation& o) {
    const placed_leaf& leaf = leaf_of(o);
    std::array<int, layer_traits::max_operands> in{};
    for (int k = 0; k < o.operands; ++k) in[static_cast<std::size_t>(k)] = prepared_for(leaf, operand_of(o, k), k);
    return add_layer(o, leaf, in, o.operands);
  }

  /// Value k that a layer reads, in the order and type that it wants.
  constexpr int prepared_for(const placed_leaf& leaf, int in, int k = 0) {
    const layer_traits& traits = leaf.traits;
    if ((traits.token_operands >> static_cast<unsigned>(k) & 1U) != 0) return in;
    if (traits.needs_picture_order) in = in_picture_order(in);
    if (traits.is_pixel_rows) return as_activation(in_channels_last(in));
    // A layer may keep its parameters in the order of what it reads; one set of them has one order.
    // One that mixes all elements of a sample finds their order out where the sample is flat.
    const bool takes = (traits.takes_any_order && !(traits.writes_plain_order && leaf.in.rank > 1) &&
                        !(traits.takes_rows && leaf.in.rank == 2)) ||
                       (traits.takes_any_picture_order && leaf.in.rank == 3);
    const bool takes_this_order = takes && !(leaf.tied && leaf.parameters.count > 0);
    if (!traits.needs_picture_order && !takes_this_order && !traits.is_flatten) in = in_plain_order(in);
    return traits.is_flatten ? in : as_activation(in);
  }

  /// The node that measures what arrives at a layer over the whole batch.
  constexpr int add_measure(const operation& o) {
    const placed_leaf& leaf = leaf_of(o);
    const int in = prepared_for(leaf, operand_of(o, 0));
    plan_node node;
    node.kind = node_kind::measure;
    node.leaf = o.leaf;
    node.skip = o.skip;
    node.in = node.out = leaf.in;
    node.order_in = node.order_out = order_of(in);
    node.picture = flattened_of(in);
    node.statistics = plan_.measured_channels;
    node.backward_reads_input = true;
    node.backward_in_place = true;
    plan_.measured_channels = checked_add(plan_.measured_channels, leaf.in[0]);
    ++plan_.measured_layers;
    return push(node, in);
  }

  /// The layer itself. Its segment comes after that of its measurements. The node `addend`, if any, is added.
  constexpr int add_normalising(const operation& o, int measure, int addend = no_node) {
    if (plan_.node(measure).segment == segment_) ++segment_;
    const int in = plan_.operand(plan_.node(measure), 0).from;
    const int added = add_layer(o, leaf_of(o), std::array{in, addend}, addend == no_node ? 1 : 2);
    plan_.node(added).partner = measure;
    plan_.node(added).statistics = plan_.node(measure).statistics;
    plan_.node(measure).partner = added;
    return added;
  }

  template <std::size_t Count>
  constexpr int add_layer(const operation& o, const placed_leaf& leaf, const std::array<int, Count>& operands,
                          int count) {
    const int in = operands[0];
    const layer_traits& traits = leaf.traits;
    plan_node node;
    node.kind = traits.is_flatten || traits.is_pixel_rows ? node_kind::alias : node_kind::layer;
    node.leaf = o.leaf;
    node.skip = o.skip;
    node.in = leaf.in;
    node.out = leaf.out;
    node.order_in = node.order_out = order_of(in);
    node.picture = node.picture_out = flattened_of(in);
    node.flops = leaf.flops;
    node.token_operands = traits.token_operands;
    places_.place(node, leaf);
    node.backward_reads_input = traits.backward_reads_input && !(node.frozen && traits.skips_parameter_gradient);
    node.backward_reads_output = traits.backward_reads_output;
    node.backward_in_place = traits.backward_in_place;
    node.backward_overwrites_input = traits.backward_overwrites_input;
    node.backward_keeps_gradient = traits.backward_keeps_gradient;

    if (traits.is_flatten) {
      if (node.order_in == element_order::channels_last && node.in.rank > 1) node.picture_out = picture_of(node.in);
    } else if (traits.needs_picture_order && node.out.rank == (traits.takes_signals ? 2 : 3)) {
      node.order_out = order_matters(node.out) ? picture_order_ : element_order::plain;
    } else if (traits.writes_plain_order || (node.out.rank != 3 && node.out != node.in)) {
      // Elements that are fewer than those of the picture, or of another rank, have no other order.
      node.order_out = element_order::plain;
      node.picture_out = dims{};
    }
    const bool raw = traits.is_flatten && is_raw(in);
    const int added = push(node, operands, count);
    form_of(added).raw = raw;
    return added;
  }

  /// The operand of a sum whose layer can add the other operand, and has no node yet; -1 where there is none.
  [[nodiscard]] constexpr int adding_operand(const operation& o) const {
    for (int k = adds_to_normalised_ ? 1 : -1; k >= 0; --k) {
      const int value = network_.operands[static_cast<std::size_t>(o.first_operand + k)];
      if (value < 0 || node_of_[static_cast<std::size_t>(value)] != no_node) continue;
      const operation& read = network_.operations[static_cast<std::size_t>(value)];
      if (read.leaf >= 0 && leaf_of(read).traits.fuses_addition && read.readers == 1) return k;
    }
    return -1;
  }

  constexpr int add_junction(const operation& o) {
    if (o.joins == junction::sum) return add_sum(o);
    if (o.joins == junction::concat) return add_concat(o);
    return o.joins == junction::skip_begin ? add_skip_begin(o) : add_skip_end(o);
  }

  constexpr int add_skip_begin(const operation& o) {
    int in = operand_of(o, 0);
    if (flattened_of(in).rank == 3) in = in_plain_order(in);
    in = as_activation(in);
    plan_node node;
    node.kind = node_kind::skip_begin;
    node.skip = o.skip;
    node.in = node.out = o.out;
    node.order_in = node.order_out = order_of(in);
    return push(node, in);
  }

  /// What leaves lies in the order of what arrives.
  constexpr int add_skip_end(const operation& o) {
    std::array<int, 2> in{operand_of(o, 0), operand_of(o, 1)};
    const int begin = in[1];
    in[0] = as_activation(in[0]);
    in[0] = order_of(begin) == element_order::plain ? in_plain_order(in[0]) : in_picture_order(in[0]);
    plan_node node;
    node.kind = node_kind::skip_end;
    node.skip = o.skip;
    node.in = node.out = o.out;
    node.order_in = node.order_out = order_of(begin);
    node.partner = begin;
    plan_.node(begin).partner = plan_.node_count;
    return push(node, in, 2);
  }

  constexpr int add_sum(const operation& o) {
    if (const int adds = adding_operand(o); adds >= 0) {
      int addend = operand_of(o, 1 - adds);
      addend = as_activation(o.out.rank > 1 ? in_picture_order(addend) : in_plain_order(addend));
      const auto value = static_cast<std::size_t>(network_.operands[static_cast<std::size_t>(o.first_operand + adds)]);
      const int added = add_normalising(network_.operations[value], measure_of_[value], addend);
      plan_node& node = plan_.node(added);
      node.flops = checked_add(node.flops, o.out.size());
      return node_of_[value] = added;
    }
    std::array<int, 2> in{operand_of(o, 0), operand_of(o, 1)};
    if (o.out.rank > 1 && (order_of(in[0]) != element_order::plain || order_of(in[1]) != element_order::plain)) {
      for (int& value : in) value = in_picture_order(value);
    } else if (flattened_of(in[0]) != flattened_of(in[1]) || order_of(in[0]) != order_of(in[1])) {
      for (int& value : in) value = in_plain_order(value);
    }
    for (int& value : in) value = as_activation(value);
    plan_node node;
    node.kind = node_kind::sum;
    node.skip = o.skip;
    node.in = node.out = o.out;
    node.order_in = node.order_out = order_of(in[0]);
    node.picture = node.picture_out = flattened_of(in[0]);
    node.flops = o.out.size();
    return push(node, in, 2);
  }

  constexpr int add_concat(const operation& o) {
    std::array<int, Size.operands> in{};
    bool channels_last = false;
    for (int k = 0; k < o.operands; ++k) {
      in[static_cast<std::size_t>(k)] = operand_of(o, k);
      channels_last = channels_last ||
                      (o.out.rank > 1 && order_of(in[static_cast<std::size_t>(k)]) == element_order::channels_last);
    }
    for (int k = 0; k < o.operands; ++k) {
      int& value = in[static_cast<std::size_t>(k)];
      value = as_activation(channels_last ? in_picture_order(value) : in_plain_order(value));
    }
    plan_node node;
    node.kind = node_kind::concat;
    node.skip = o.skip;
    node.in = extents_of(in[0]);
    node.out = o.out;
    node.order_in = node.order_out = channels_last ? element_order::channels_last : element_order::plain;
    return push(node, in, o.operands);
  }

  network_plan<Size>& plan_;
  const network_data<Size>& network_;
  element_order picture_order_;
  bool converts_;
  bool adds_to_normalised_;
  std::array<int, Size.operations> node_of_{};
  std::array<form, network_plan<Size>::max_nodes + network_plan<Size>::input_count> forms_{};
  std::array<int, Size.operations> measure_of_{};  ///< by operation: the node that measures for it
  int segment_ = 0;
  parameter_places<Size> places_;
};

template <network_size Size>
constexpr network_plan<Size> build_nodes(const network_data<Size>& network, const plan_target& target) {
  network_plan<Size> plan;
  for (std::size_t k = 0; k < plan.inputs.size(); ++k) plan.inputs[k] = network.inputs[k].extents;
  if (plan.inputs.size() == 1) plan.input = plan.inputs[0];
  node_builder<Size>(plan, network, target).build();
  return plan;
}

}  // namespace lockstep::detail
