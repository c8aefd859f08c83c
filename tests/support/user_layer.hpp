// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/nn/layer.hpp>

namespace lockstep_test {

/// Base of a user's layer without parameters that hands on the extents that arrive.
struct same_extents {
  static constexpr lockstep::layer_traits traits{};

  static constexpr lockstep::dims output(const lockstep::dims& in) { return in; }
  static constexpr lockstep::parameter_list parameters(const lockstep::dims&) { return lockstep::parameter_list{}; }
  static constexpr std::int64_t flops(const lockstep::dims&) { return 0; }
};

}  // namespace lockstep_test
