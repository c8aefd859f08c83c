// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep::detail {

/// Layers one after the other, all at the path of the whole, so that the names of their parameters differ. A module
/// that is such a stack, as `lstm` is, names it `stacked_layers`.
template <class... Layers>
struct layer_stack {};

template <class... A, class... B>
layer_stack<A..., B...> operator+(layer_stack<A...>, layer_stack<B...>);

}  // namespace lockstep::detail
