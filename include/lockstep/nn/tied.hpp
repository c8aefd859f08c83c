// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/core/fixed_string.hpp>

namespace lockstep {

/// One set of parameters at several places of a network: all `tied<"name", ...>` of one name share theirs, and what is
/// inside is alike. Gradients of all places add up. The parameters are called `name.weight` and so on wherever the
/// places are, exist once in memory, and are saved once.
template <fixed_string Name, class Layer>
struct tied {
  using tied_layer = Layer;
  static constexpr std::string_view own_name = Name.view();
};

}  // namespace lockstep
