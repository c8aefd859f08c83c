// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep {

/// The end of a network with several outputs: branches that read the same value, each of which computes one output.
/// `losses` gives each of them a loss of its own. A branch that is not `named` takes its position as its name in the
/// paths of parameters, as in `sequential`; the name of one that is `named` is also that of its output.
template <class... Branches>
struct outputs {};

}  // namespace lockstep
