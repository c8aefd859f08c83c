// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// The values that change from step to step. Work reads them from the backend's memory when it runs, so that recorded
/// work can run again with other values.
struct step_values {
  double scale = 1;  ///< multiplies the gradient of the loss: 1 / the global denominator
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::int64_t first_sample = 0;  ///< index of the batch's first sample among those of all ranks
};

/// The values that determine a sample's dropout mask, which is the same for any number of replicas.
struct dropout_key {
  const step_values* now = nullptr;  ///< in the backend's memory
  std::uint32_t layer = 0;
  std::int64_t first_sample = 0;  ///< index of the first sample in the batch
};

}  // namespace lockstep
