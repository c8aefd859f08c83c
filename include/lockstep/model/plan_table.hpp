// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/op_memory.hpp>

namespace lockstep {

namespace detail {

/// 657162 -> `657,162`.
[[nodiscard]] inline std::string grouped(std::int64_t n) {
  const std::string digits = std::to_string(n);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

/// Rows of cells as lines, columns two spaces apart; the first `left` columns are flush left, the others right.
class table_writer {
 public:
  table_writer(std::size_t left, std::vector<std::string> head) : left_(left) { rows_.push_back(std::move(head)); }

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  void append_to(std::string& text) const {
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_)
      for (std::size_t c = 0; c < row.size(); ++c) widths[c] = (std::max)(widths[c], row[c].size());
    for (const auto& row : rows_) {
      for (std::size_t c = 0; c < row.size(); ++c) {
        const std::size_t space = widths[c] - row[c].size();
        text.append(c == 0 ? 0 : 2, ' ');
        if (c >= left_) text.append(space, ' ');
        text.append(row[c]);
        if (c < left_ && c + 1 < row.size()) text.append(space, ' ');
      }
      text += '\n';
    }
  }

 private:
  std::size_t left_;
  std::vector<std::vector<std::string>> rows_;
};

/// Where a buffer lies: its offset in the arena or in what is kept of a shard, or a dash when there is none.
[[nodiscard]] inline std::string offset_text(std::int64_t offset) {
  if (offset == no_buffer) return "-";
  return offset < kept_base ? grouped(offset) : "kept " + grouped(offset - kept_base);
}

/// `22+21+21`: the shards of a batch.
[[nodiscard]] inline std::string shards_text(int replicas, std::int64_t batch) {
  std::string text;
  for (int r = 0; r < replicas; ++r)
    text.append(r == 0 ? "" : "+").append(std::to_string(shard_of(batch, replicas, r).count));
  return text;
}

/// The nodes that a node reads, `3` or `3, 7`; a dash stands for the user's input, or its name where there are several.
template <class Model, class Plan>
[[nodiscard]] std::string operands_text(const Plan& plan, const plan_node& node) {
  std::string text;
  for (int k = 0; k < node.operands; ++k) {
    const int from = plan.operand(node, k).from;
    text.append(k == 0 ? "" : ", ");
    if (from >= 0)
      text.append(std::to_string(from));
    else
      text.append(Model::input_count == 1 ? "-" : Model::graph.inputs[input_of(from)].name);
  }
  return text;
}

/// The two leading cells of a node's row: which layer, and what it does (`conv2d+relu`, `conv2d+relu, frozen`).
template <class Model>
[[nodiscard]] std::pair<std::string, std::string> node_title(const plan_node& node) {
  if (node.kind == node_kind::to_channels_last) return {"", "to channels-last"};
  if (node.kind == node_kind::to_plain) return {"", "to plain order"};
  if (node.kind == node_kind::to_activation) return {"", "to activations"};
  const auto kind_of = [](int leaf) { return Model::graph.leaves[static_cast<std::size_t>(leaf)].kind; };
  std::string kind(node.kind == node_kind::sum          ? "sum"
                   : node.kind == node_kind::concat     ? "concat"
                   : node.kind == node_kind::skip_begin ? "skippable begins"
                   : node.kind == node_kind::skip_end   ? "skippable ends"
                   : node.leaf < 0                      ? "same value"
                                                        : kind_of(node.leaf));
  if (node.adds_value()) kind += "+sum";
  if (node.fused_leaf >= 0) kind.append("+").append(kind_of(node.fused_leaf));
  if (node.leaf < 0) return {"", std::move(kind)};
  const auto leaf = static_cast<std::size_t>(node.leaf);
  if (node.kind == node_kind::measure) kind += ", measured";
  if (node.frozen) kind += ", frozen";
  if (node.shares) kind += ", tied";
  if (Model::skippable_leaves[leaf]) kind += ", skippable";
  return {std::string(Model::paths[leaf].view()), std::move(kind)};
}

}  // namespace detail

/// The static plan as text: of several inputs one line for each, one line for each node of the network (its layer, what
/// it does, the nodes that it reads, extents of a sample, parameters, forward flops of a sample, where its output and
/// its output's gradient lie in the arena), one line for each parameter under PyTorch's name, then what a training step
/// of `batch` samples on `replicas` replicas takes. Its memory leaves out the optimizer's state, the buffers of
/// exchanges between ranks, and the working memory of primitives. Arena offsets count elements of one sample, parameter
/// offsets elements. Frozen layers and parameters are marked. Throws value_error when `replicas` or `batch` is below 1.
template <class Model, class Backend>
[[nodiscard]] std::string plan_table(int replicas, std::int64_t batch) {
  if (replicas < 1) throw value_error("plan_table", "one replica or more", std::to_string(replicas));
  if (batch < 1) throw value_error("plan_table", "a batch of one sample or more", std::to_string(batch));
  constexpr const auto& plan = Model::template plan<Backend>;
  constexpr auto element = static_cast<std::int64_t>(sizeof(typename Backend::value_type));
  constexpr auto activation = static_cast<std::int64_t>(sizeof(typename Backend::activation_type));
  using detail::grouped;

  detail::table_writer nodes(
      5, {"node", "layer", "kind", "reads", "sample", "parameters", "flops", "output at", "gradient at"});
  for (int i = 0; i < plan.node_count; ++i) {
    const plan_node& node = plan.nodes[static_cast<std::size_t>(i)];
    auto [layer, kind] = detail::node_title<Model>(node);
    nodes.add({std::to_string(i), std::move(layer), std::move(kind), detail::operands_text<Model>(plan, node),
               to_string(node.in) + " -> " + to_string(node.out), grouped(node.parameter_size), grouped(node.flops),
               detail::offset_text(node.output_buffer), detail::offset_text(node.gradient_buffer)});
  }

  detail::table_writer parameters(2, {"parameter", "shape", "elements", "offset"});
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    const plan_parameter& parameter = plan.parameters[static_cast<std::size_t>(p)];
    const bool frozen = plan.nodes[static_cast<std::size_t>(parameter.node)].frozen;
    parameters.add({Model::template parameter_name<Backend>(parameter),
                    to_string(parameter.shape)
                        .append(parameter.buffer ? ", buffer"
                                : frozen         ? ", frozen"
                                                 : ""),
                    grouped(parameter.shape.size()), grouped(parameter.offset)});
  }

  const std::int64_t longest = shard_of(batch, replicas, 0).count;
  // A replica's arena holds one micro-shard, or all of a shorter shard.
  const std::int64_t samples = (std::min)(micro_shard<Model, Backend>, longest);
  const auto bytes = [&](std::int64_t elements) { return grouped(checked_multiply(elements, element)); };
  const auto arena = [&](std::int64_t elements) {
    return grouped(checked_multiply(checked_multiply(samples, elements), activation));
  };
  const std::int64_t gradients = checked_multiply(plan.trainable_count, replicas);
  const std::int64_t kept = checked_multiply(longest, plan.kept_size);
  const std::int64_t in_ops = detail::op_bytes<Model, Backend>(samples);
  const std::int64_t of_replica =
      checked_add(checked_add(checked_multiply(plan.trainable_count, element), in_ops),
                  checked_multiply(checked_add(checked_add(checked_multiply(samples, plan.arena_size), kept),
                                               converts_values<Backend> ? plan.value_count : 0),
                                   activation));

  detail::table_writer totals(1, {"total", "value"});
  totals.add({"parameters", grouped(plan.parameter_count)});
  if (plan.value_count != plan.parameter_count)
    totals.add({"elements of buffers", grouped(plan.value_count - plan.parameter_count)});
  if (plan.trainable_count != plan.parameter_count) totals.add({"trainable parameters", grouped(plan.trainable_count)});
  totals.add({"parameter bytes", bytes(plan.parameter_count)});
  if (converts_values<Backend>)
    totals.add({"converted parameter bytes a replica", grouped(checked_multiply(plan.value_count, activation))});
  totals.add({"gradient bytes a replica", bytes(plan.trainable_count)});
  totals.add({"gradient bytes", bytes(gradients)});
  totals.add({"samples a micro-shard", grouped(samples)});
  totals.add({"arena bytes a replica", arena(plan.arena_size)});
  totals.add({"arena bytes a replica without reuse", arena(plan.unshared_size)});
  if (plan.segments > 1) {
    totals.add({"segments", grouped(plan.segments)});
    totals.add({"kept bytes a replica", grouped(checked_multiply(kept, activation))});
  }
  if (in_ops > 0) totals.add({"bytes of derived weights a replica", grouped(in_ops)});
  totals.add({"memory bytes a replica", grouped(of_replica)});
  totals.add({"memory bytes", grouped(checked_add(checked_multiply(of_replica, replicas),
                                                  checked_multiply(plan.value_count, element)))});
  totals.add({"flops a training step", grouped(checked_multiply(plan.training_flops, batch))});
  totals.add({"batch", grouped(batch)});
  totals.add({"shards", detail::shards_text(replicas, batch)});

  std::string text("backend ");
  text.append(Backend::name)
      .append(", ")
      .append(std::to_string(replicas))
      .append(replicas == 1 ? " replica\n\n" : " replicas\n\n");
  if constexpr (Model::input_count > 1) {
    detail::table_writer inputs(2, {"input", "sample", "readers"});
    for (const auto& each : Model::graph.inputs)
      inputs.add({std::string(each.name), to_string(each.extents), std::to_string(each.readers)});
    inputs.append_to(text);
    text += '\n';
  }
  nodes.append_to(text);
  text += '\n';
  parameters.append_to(text);
  text += '\n';
  totals.append_to(text);
  return text;
}

}  // namespace lockstep
