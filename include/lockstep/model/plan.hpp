// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <lockstep/backend/element_order.hpp>
#include <lockstep/model/arena_range.hpp>
#include <lockstep/model/network_plan.hpp>
#include <lockstep/model/plan_arena.hpp>
#include <lockstep/model/plan_backward.hpp>
#include <lockstep/model/plan_nodes.hpp>

/// \file
/// Everything about a network that does not depend on the batch, computed by the compiler: shapes, which layers fuse,
/// where parameters lie, which layers run backward, and where each activation lies in the arena.

namespace lockstep::detail {

/// The plan of a network for a kind of backend; `Network::graph` is the network as data. Each stage is a constant of
/// its own, since compilers limit the steps of one.
template <class Network, plan_target Target>
class planner {
  static constexpr auto with_nodes = build_nodes(Network::graph, Target);
  static constexpr auto with_backward = build_backward(with_nodes, Network::graph);
  static constexpr auto unplaced = arena_builder(with_backward).build();

  struct passing {
    static constexpr auto value = select_ranges(unplaced, false);
  };
  struct kept {
    static constexpr auto value = select_ranges(unplaced, true);
  };
  struct inference {
    static constexpr auto value = unplaced.inference;
  };

 public:
  static constexpr auto plan = place_plan(unplaced, all_placed<passing>, all_placed<kept>, all_placed<inference>);
};

}  // namespace lockstep::detail
