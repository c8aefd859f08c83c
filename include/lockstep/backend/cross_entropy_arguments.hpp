// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// Options of a softmax cross entropy over n rows of `classes` logits, as torch.nn.CrossEntropyLoss.
struct cross_entropy_arguments {
  std::int64_t classes = 1;
  const float* class_weights = nullptr;  ///< `classes` values in the backend's memory, or null for all ones
  float label_smoothing = 0;
  std::int64_t ignore_index = -100;
};

}  // namespace lockstep
