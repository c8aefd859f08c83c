// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include "data.hpp"
#include "networks.hpp"
#include "options.hpp"

namespace lockstep_train {

/// What a program that was built with CUDA brings.
struct gpu_support {
  /// The network that o.model and the data's format ask for.
  network (*pick)(const options& o, sample_format format);
  /// The GPU of each replica: as o.devices says, or spread over those that there are. Throws usage_error when there is
  /// none, or none of one of these indices.
  std::vector<int> (*place)(const options& o);
};

/// From with_cuda.cu; null, from without_cuda.cpp, in a program that was built without.
[[nodiscard]] const gpu_support* gpu();

}  // namespace lockstep_train
