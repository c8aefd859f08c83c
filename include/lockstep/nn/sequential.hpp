// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/core/fixed_string.hpp>

namespace lockstep {

/// Layers one after the other, as torch.nn.Sequential; may be nested. A layer that is not `named` takes its position as
/// its name: its parameters are `0.weight`, or `features.2.bias` in an inner sequential named `features`.
template <class... Layers>
struct sequential {};

/// Gives a layer its name in parameter lists: `named<"conv1", conv2d<...>>` has a parameter `conv1.weight`.
template <fixed_string Name, class Layer>
struct named {
  using named_layer = Layer;
  static constexpr std::string_view own_name = Name.view();
};

}  // namespace lockstep
