// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// The same elements in one dimension, as torch.nn.Flatten. Costs nothing: no element moves.
struct flatten {
  static constexpr std::string_view kind = "flatten";
  static constexpr layer_traits traits{.is_flatten = true, .backward_reads_input = false};

  [[nodiscard]] static constexpr dims output(const dims& in) { return dims{in.size()}; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims&) { return 0; }
};

}  // namespace lockstep
