// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/model/plan.hpp>

namespace lockstep {

/// A contiguous range of the flat gradients that is reduced together.
struct bucket {
  std::int64_t first = 0;  ///< element offset
  std::int64_t last = 0;   ///< one past the last element
  int node = -1;           ///< node of the plan whose backward completes it

  [[nodiscard]] constexpr std::int64_t size() const { return last - first; }
};

/// The buckets of a plan, in the order in which backward completes them.
template <std::size_t MaxNodes>
struct bucket_plan {
  int count = 0;
  std::array<bucket, MaxNodes> buckets{};
  std::array<int, MaxNodes> ready{};  ///< by node: the bucket that its backward completes, -1 for none
};

/// Cuts the gradients of `plan` into buckets, from the last layer to the first. A bucket is closed as soon as it has
/// reached its size. The buckets cover all gradients.
template <class Sizes, class Plan>
[[nodiscard]] consteval auto plan_buckets(const Plan& plan, std::int64_t element_bytes) {
  bucket_plan<Plan::max_nodes> result;
  result.ready.fill(-1);
  bucket open{.first = plan.trainable_count, .last = plan.trainable_count, .node = -1};
  const auto close = [&] {
    result.ready[static_cast<std::size_t>(open.node)] = result.count;
    result.buckets[static_cast<std::size_t>(result.count++)] = open;
    open.last = open.first;
  };
  for (int i = plan.node_count - 1; i >= 0; --i) {
    const plan_node& node = plan.nodes[static_cast<std::size_t>(i)];
    if (!node.owns_learning()) continue;
    open.first = node.parameter_offset;
    open.node = i;
    if (open.size() * element_bytes >= Sizes::limit(plan.trainable_count * element_bytes, result.count)) close();
  }
  if (open.size() > 0) close();
  return result;
}

}  // namespace lockstep
