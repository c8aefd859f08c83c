// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>

#include <lockstep/backend/backend.hpp>
#include <lockstep/model/network_plan.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep::detail {

/// Which of a model's skippable composites a pass skips.
template <class Model>
struct skipped_parts {
  /// The skippable composite that a node runs inside of, or -1.
  [[nodiscard]] static constexpr int around(const plan_node& node) {
    const bool bounds = node.kind == node_kind::skip_begin || node.kind == node_kind::skip_end;
    return bounds ? Model::skippable_parts[static_cast<std::size_t>(node.skip)].parent : node.skip;
  }
  /// True when a pass skips a composite, or one around it.
  [[nodiscard]] static bool skips([[maybe_unused]] const pass& p, [[maybe_unused]] int part) {
    if constexpr (!Model::skippable_parts.empty())
      for (; p.skipped != nullptr && part >= 0; part = Model::skippable_parts[static_cast<std::size_t>(part)].parent)
        if (p.skipped[Model::leaf_count + static_cast<std::size_t>(part)]) return true;
    return false;
  }
};

}  // namespace lockstep::detail
