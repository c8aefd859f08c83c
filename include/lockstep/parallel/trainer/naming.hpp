// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include <lockstep/model/plan.hpp>
#include <lockstep/parallel/timeline.hpp>

namespace lockstep::detail {

/// What a replica does, in words.
[[nodiscard]] constexpr std::string_view words_for(activity what) {
  constexpr std::array<std::string_view, 7> names{"forward", "the loss",      "backward",  "adding up gradients",
                                                  "waiting", "communicating", "the update"};
  return names[static_cast<std::size_t>(what)];
}

/// The path of a node's layer, in which unnamed layers go by their position; for a node without a layer, what it does.
template <class Model, class B>
[[nodiscard]] constexpr std::string_view words_for_node(int node) {
  const plan_node& of = Model::template plan<B>.nodes[static_cast<std::size_t>(node)];
  switch (of.kind) {
    case node_kind::sum:
      return "a sum of branches";
    case node_kind::concat:
      return "a concat of branches";
    case node_kind::skip_begin:
    case node_kind::skip_end:
      return "a bound of what may be skipped";
    case node_kind::to_activation:
      return "a change of elements";
    case node_kind::to_channels_last:
    case node_kind::to_plain:
      return "a change of order";
    case node_kind::layer:
    case node_kind::alias:
    case node_kind::measure:
      break;
  }
  if (of.leaf < 0) return "an output that is also another";
  return Model::paths[static_cast<std::size_t>(of.leaf)].view();
}

/// `backward of conv2`; without a node only what is done, such as `the update`.
template <class Model, class B>
[[nodiscard]] std::string doing(activity what, int node) {
  std::string text(words_for(what));
  if (node >= 0) text.append(" of ").append(words_for_node<Model, B>(node));
  return text;
}

}  // namespace lockstep::detail
