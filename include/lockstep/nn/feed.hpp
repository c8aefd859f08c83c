// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep {

/// Feeds several values to a layer that reads several (`joint_layer`): the outputs of its branches, each of which reads
/// what arrives, unless it begins with `from`. Branches are named as those of `sum`; the layer is named as if it stood
/// in the place of the feed.
///
///     feed<named<"attend", my_attention>, identity, from<"lengths">>
template <class Layer, class... Branches>
struct feed {};

}  // namespace lockstep
