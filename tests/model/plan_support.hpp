// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <lockstep/model/model.hpp>

/// \file
/// A plan in short, as tests write it down.

namespace lockstep_test {

/// PyTorch's names of the parameters, in the order of the flat range.
template <class Model, class B>
std::vector<std::string> parameter_names() {
  std::vector<std::string> names;
  const auto& plan = Model::template plan<B>;
  for (int p = 0; p < plan.parameter_tensors; ++p)
    names.push_back(Model::template parameter_name<B>(plan.parameters[static_cast<std::size_t>(p)]));
  return names;
}

/// The nodes: `conv2d+relu`, `sum+relu`, `alias`, `to_channels_last`.
template <class Model, class B>
std::vector<std::string> nodes() {
  const auto& plan = Model::template plan<B>;
  const auto kind_of = [](int leaf) { return Model::graph.leaves[static_cast<std::size_t>(leaf)].kind; };
  std::vector<std::string> all;
  for (int i = 0; i < plan.node_count; ++i) {
    const auto& node = plan.node(i);
    std::string text;
    switch (node.kind) {
      case lockstep::node_kind::layer:
        text = kind_of(node.leaf);
        break;
      case lockstep::node_kind::alias:
        text = "alias";
        break;
      case lockstep::node_kind::sum:
        text = "sum";
        break;
      case lockstep::node_kind::concat:
        text = "concat";
        break;
      case lockstep::node_kind::measure:
        text = "measure";
        break;
      case lockstep::node_kind::skip_begin:
        text = "skip_begin";
        break;
      case lockstep::node_kind::skip_end:
        text = "skip_end";
        break;
      case lockstep::node_kind::to_channels_last:
        text = "to_channels_last";
        break;
      case lockstep::node_kind::to_plain:
        text = "to_plain";
        break;
      case lockstep::node_kind::to_activation:
        text = "to_activation";
        break;
    }
    if (node.adds_value()) text += "+sum";
    if (node.fused_leaf >= 0) text.append("+").append(kind_of(node.fused_leaf));
    all.push_back(text);
  }
  return all;
}

/// The nodes that each node reads; -1 stands for the user's input.
template <class Model, class B>
std::vector<std::vector<int>> reads() {
  const auto& plan = Model::template plan<B>;
  std::vector<std::vector<int>> all;
  for (int i = 0; i < plan.node_count; ++i) {
    all.emplace_back();
    for (int k = 0; k < plan.node(i).operands; ++k) all.back().push_back(plan.operand(plan.node(i), k).from);
  }
  return all;
}

}  // namespace lockstep_test
