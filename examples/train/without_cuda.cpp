// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "gpu.hpp"

namespace lockstep_train {

const gpu_support* gpu() { return nullptr; }

}  // namespace lockstep_train
