// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <lockstep/model/plan_table.hpp>
#include <lockstep/parallel/bucket_bytes.hpp>
#include <lockstep/parallel/ranks/bucket.hpp>

namespace lockstep {

/// The buckets of a model's gradients as text, one line each: elements, bytes, first element, the node whose backward
/// completes it, and the share of backward (in flops) that has run by then. The rest of backward hides the bucket's
/// reduction.
template <class Model, class Backend, class Sizes = bucket_bytes<>>
[[nodiscard]] std::string bucket_table() {
  constexpr const auto& plan = Model::template plan<Backend>;
  constexpr auto element = static_cast<std::int64_t>(sizeof(typename Backend::value_type));
  static constexpr auto buckets = plan_buckets<Sizes>(plan, element);
  const auto flops_from = [&](int node) {
    std::int64_t sum = 0;
    for (int i = node; i < plan.node_count; ++i) sum += plan.nodes[static_cast<std::size_t>(i)].flops;
    return sum;
  };
  const std::int64_t all = flops_from(0);

  detail::table_writer table(1, {"bucket", "elements", "bytes", "first", "ready after node", "of backward"});
  for (int b = 0; b < buckets.count; ++b) {
    const bucket& each = buckets.buckets[static_cast<std::size_t>(b)];
    const std::int64_t percent = all > 0 ? 100 * flops_from(each.node) / all : 100;
    table.add({std::to_string(b), detail::grouped(each.size()), detail::grouped(each.size() * element),
               detail::grouped(each.first), std::to_string(each.node), std::to_string(percent) + " %"});
  }
  std::string text;
  table.append_to(text);
  return text;
}

}  // namespace lockstep
