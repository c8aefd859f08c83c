// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/model/batch_statistics.hpp>

namespace lockstep::detail {

/// The memory of a pass over one micro-shard.
template <class B>
struct pass_memory {
  using activation = typename B::activation_type;

  activation* arena = nullptr;
  activation* kept = nullptr;                                       ///< for all samples of the shard
  std::int64_t shard = 0;                                           ///< samples that `kept` holds
  std::int64_t first = 0;                                           ///< the micro-shard's first sample among them
  leaf_statistics* leaf = nullptr;                                  ///< takes what the micro-shard measures
  const batch_statistics<typename B::value_type>* batch = nullptr;  ///< what the batch has measured
};

}  // namespace lockstep::detail
