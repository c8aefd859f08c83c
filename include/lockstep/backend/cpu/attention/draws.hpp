// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/attention_mask.hpp>
#include <lockstep/backend/cpu/attention/tile.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/element_exponential.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Dropout's factors of a tile: the draws of attention_mask, for many queries at a time.

namespace lockstep::cpu_backend::flash {

using four_words = std::uint64_t __attribute__((vector_size(32)));
using eight_words = std::uint64_t __attribute__((vector_size(64)));

/// Integers in a vector as wide as V.
template <class V>
using words = std::conditional_t<lanes<V> == 16, eight_words, four_words>;
template <class V>
using integers = std::conditional_t<lanes<V> == 16, detail::sixteen_integers, detail::eight_integers>;

/// a = the lower half of each word of a, times `factor`, which has no upper half.
template <class W>
LOCKSTEP_ALWAYS_INLINE void multiply_lower(W& a, const W& factor) {
#if LOCKSTEP_GCC_ON_X86_64()
  asm("vpmuludq %1, %0, %0" : "+v"(a) : "v"(factor));  // g++ would multiply the upper halves too
#else
  a = (a & 0xFFFFFFFFU) * factor;
#endif
}

/// What a tile's draws depend on.
struct tile_draws {
  std::array<std::uint32_t, 2> key, lane;
  std::uint64_t block;   ///< of the first query's first four keys
  std::uint64_t blocks;  ///< of a query
  std::int64_t keys;
  std::int32_t dropped;  ///< drops where the upper 24 bits of a draw are less
  float kept;
};

/// philox4x32_10 with a counter in the lower half of each word. What comes into upper halves is never read: the product
/// reads lower halves alone, and nothing else carries anything down.
struct draw_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const tile_draws* of, float* factors) {
    for (std::int64_t v = 0; v < 2; ++v) {
      // Even queries and odd ones, whose draws then lie side by side.
      words<V> index[2] = {};
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd)
        for (std::int64_t i = 0; i < lanes<V> / 2; ++i)
          index[odd][i] = of->block + static_cast<std::uint64_t>(v * lanes<V> + 2 * i + odd) * of->blocks;
      for (std::int64_t key = 0; key < of->keys; key += 4) {
        draw<V>(*of, index, factors + key * tile_queries<V> + v * lanes<V>);
        index[0] += 1;
        index[1] += 1;
      }
    }
  }

 private:
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void draw(const tile_draws& of, const words<V> (&index)[2], float* factors) {
    const words<V> zero{};
    const words<V> first = zero + 0xD2511F53U;
    const words<V> second = zero + 0xCD9E8D57U;
    words<V> keys[2] = {zero + of.key[0], zero + of.key[1]};
    words<V> counter[2][4];
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      counter[odd][0] = index[odd];
      counter[odd][1] = index[odd] >> 32;
      counter[odd][2] = zero + of.lane[0];
      counter[odd][3] = zero + of.lane[1];
    }
    for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        words<V>(&c)[4] = counter[odd];
        multiply_lower(c[0], first);
        multiply_lower(c[2], second);
        const words<V> a = c[0];
        c[0] = (c[2] >> 32) ^ c[1] ^ keys[0];
        c[1] = c[2];
        c[2] = (a >> 32) ^ c[3] ^ keys[1];
        c[3] = a;
      }
      keys[0] += 0x9E3779B9U;
      keys[1] += 0xBB67AE85U;
    }
    const V kept = of.kept - V{};
    integers<V> kept_bits;
    __builtin_memcpy(&kept_bits, &kept, sizeof kept);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const words<V> both = (counter[0][k] & 0xFFFFFFFFU) | (counter[1][k] << 32);
      const words<V> upper = (both >> 8) & 0x00FFFFFF00FFFFFFU;
      integers<V> drawn;
      __builtin_memcpy(&drawn, &upper, sizeof upper);
      // The sign of the difference, in all bits.
      const integers<V> is_dropped = (drawn - of.dropped) >> 31;
      const integers<V> bits = kept_bits & ~is_dropped;
      V factor;
      __builtin_memcpy(&factor, &bits, sizeof bits);
      store(factors + k * tile_queries<V>, factor);
    }
  }
};

/// The factors of a tile's queries and keys: a row for each key. Rows up to a multiple of 4 are written.
template <class V>
void draw_factors(const attention_mask& mask, std::int64_t head, const tile_place& at, float* factors) {
  const tile_draws of{.key = mask.stream().key(),
                      .lane = mask.stream().lane(),
                      .block = mask.block(head, at.query, at.key),
                      .blocks = static_cast<std::uint64_t>(mask.blocks()),
                      .keys = at.keys,
                      .dropped = static_cast<std::int32_t>(std::ceil(double{mask.probability()} * 0x1p24)),
                      .kept = mask.kept()};
  run_for<V, draw_kernel>(&of, factors);
}

}  // namespace lockstep::cpu_backend::flash
