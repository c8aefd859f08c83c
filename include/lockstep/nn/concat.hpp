// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep {

/// The outputs of branches that read the same value, one after the other along the first extent of a sample: the
/// channels of pictures, the features of rows; torch.cat(..., dim=1) of a batch. All other extents of the branches'
/// outputs are equal. A branch that is not `named` takes its position as its name, as in `sequential`.
template <class... Branches>
struct concat {};

}  // namespace lockstep
