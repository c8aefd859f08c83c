// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>

namespace lockstep::data {

/// Writes a random order of 0 .. order.size() - 1, a function of seed and epoch alone, by Fisher and Yates' method.
/// Throws value_error when there are 2^32 entries or more.
inline void shuffled_order(std::span<std::int64_t> order, seed s, std::uint64_t epoch) {
  if (order.size() > std::numeric_limits<std::uint32_t>::max())
    throw value_error("shuffled_order", "fewer than 2^32 samples", std::to_string(order.size()));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  const random_stream draws(s, random_purpose::shuffle, epoch);
  std::array<std::uint32_t, 4> block{};
  std::uint64_t draw = 0;
  for (std::size_t left = order.size(); left > 1; --left, ++draw) {
    // One block holds four draws; random_stream::below would compute it for each.
    if (draw % 4 == 0) block = draws.block(draw / 4);
    const auto chosen = static_cast<std::size_t>((std::uint64_t{block[draw % 4]} * left) >> 32U);
    std::swap(order[left - 1], order[chosen]);
  }
}

}  // namespace lockstep::data
