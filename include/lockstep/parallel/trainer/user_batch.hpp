// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::detail {

/// An unchecked batch of this process. Targets lie in the host's memory.
template <class Value, class Target>
struct user_batch {
  const Value* images;
  std::span<const Target> targets;
  std::int64_t samples;
};

/// Checks that a batch has samples, unless it may be empty, and as many targets as they need. Returns the denominator
/// of its loss. Throws shape_error, value_error.
template <class Loss, class Value, class Target>
[[nodiscard]] double check_batch(const Loss& loss, const dims& output, const user_batch<Value, Target>& batch,
                                 bool may_be_empty) {
  if (batch.samples < 1 && !may_be_empty)
    throw shape_error("data_parallel", "a batch of one sample or more", std::to_string(batch.samples));
  const std::int64_t wanted = batch.samples * loss.target_size(output);
  if (static_cast<std::int64_t>(batch.targets.size()) != wanted)
    throw shape_error("data_parallel",
                      std::to_string(wanted) + " targets for " + std::to_string(batch.samples) + " samples",
                      std::to_string(batch.targets.size()));
  return loss.denominator(batch.targets.data(), wanted, output);
}

}  // namespace lockstep::detail
