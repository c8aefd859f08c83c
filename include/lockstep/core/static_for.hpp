// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace lockstep::detail {

/// Compilers limit the operands of a fold expression; clang allows 256.
inline constexpr std::size_t static_for_block = 32;

template <std::size_t First, class F, std::size_t... Index>
LOCKSTEP_ALWAYS_INLINE constexpr void static_for_block_of(const F& f, std::index_sequence<Index...>) {
  (f.template operator()<First + Index>(), ...);
}

template <std::size_t Count, class F, std::size_t... Block>
LOCKSTEP_ALWAYS_INLINE constexpr void static_for_blocks(const F& f, std::index_sequence<Block...>) {
  (static_for_block_of<Block * static_for_block>(
       f, std::make_index_sequence<(std::min)(static_for_block, Count - Block * static_for_block)>{}),
   ...);
}

/// Calls f.template operator()<Index>() for Index = 0 .. Count - 1, in this order, for up to some thousands.
template <std::size_t Count, class F>
LOCKSTEP_ALWAYS_INLINE constexpr void static_for(const F& f) {
  static_for_blocks<Count>(f, std::make_index_sequence<(Count + static_for_block - 1) / static_for_block>{});
}

}  // namespace lockstep::detail
