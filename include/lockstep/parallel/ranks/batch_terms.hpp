// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

/// \file
/// What ranks say of a batch before it, and what all of them know of it then. `Losses`: how many losses the model has.

namespace lockstep::detail {

/// What a rank is about to do with the others.
enum class rank_call : std::uint8_t { step, accumulate, join };

/// What a pass needs to know of the whole batch: this process' batch, or that of all ranks together.
template <std::size_t Losses>
struct batch_terms {
  std::array<double, Losses> denominators{};  ///< of each loss
  std::int64_t samples = 0;                   ///< samples of all ranks
  std::int64_t first_sample = 0;              ///< where this rank's samples begin among them
  bool steps = true;                          ///< some rank steps; else all accumulate or have joined
  bool all_joined = false;
  int spoiler = -1;  ///< a rank that has failed in an earlier `accumulate`; then the rest holds nothing
};

/// What a rank tells the others before a batch.
template <std::size_t Losses>
struct rank_words {
  rank_call call{};
  std::array<double, Losses> denominators{};          ///< of its own batch
  std::int64_t samples = 0;                           ///< of its own batch
  std::optional<std::array<double, Losses>> given{};  ///< those of the whole batch, where the caller has named them
  bool refused = false;                               ///< it will not take its batch
  bool cannot_step = false;                           ///< it has joined, and could not take part in another step
  bool failed_to_accumulate = false;  ///< since all ranks have last dropped or used what they had accumulated
};

}  // namespace lockstep::detail
