// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/element_order.hpp>
#include <lockstep/model/network.hpp>
#include <lockstep/model/network_plan.hpp>
#include <lockstep/model/plan_arena.hpp>
#include <lockstep/model/plan_backward.hpp>
#include <lockstep/model/plan_nodes.hpp>

/// \file
/// Everything about a network that does not depend on the batch, computed by the compiler: shapes, which layers fuse,
/// where parameters lie, which layers run backward, and where each activation lies in the arena.

namespace lockstep {

/// The plan of a network for a backend that keeps pictures in `picture_order`. `converts` says that passes compute in
/// another type than the user's elements.
template <detail::network_size Size>
consteval network_plan<Size> make_plan(const detail::network_data<Size>& network, const dims& input,
                                       element_order picture_order, bool converts = false) {
  network_plan<Size> plan;
  plan.input = input;
  detail::build_nodes(plan, network, picture_order, converts);
  detail::build_backward(plan, network);
  detail::build_arena(plan);
  return plan;
}

}  // namespace lockstep
