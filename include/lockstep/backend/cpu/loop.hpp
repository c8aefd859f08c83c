// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// Iterations of the inner loop: a constant trip count lets compilers vectorise at -O2.
inline constexpr std::int64_t loop_block = 64;

/// Blocks begin at multiples of their length, wherever the loop begins.
template <class Body>
LOCKSTEP_ALWAYS_INLINE void loop_blocks(std::int64_t first, std::int64_t last, const Body& body) {
  const std::int64_t begin = (std::min)(last, (first + loop_block - 1) / loop_block * loop_block);
  const std::int64_t end = begin + (last - begin) / loop_block * loop_block;
  for (std::int64_t i = first; i < begin; ++i) body(i);
  for (std::int64_t i = begin; i < end; i += loop_block) {
    LOCKSTEP_INDEPENDENT_ITERATIONS
    for (std::int64_t j = 0; j < loop_block; ++j) body(i + j);
  }
  for (std::int64_t i = end; i < last; ++i) body(i);
}

#if LOCKSTEP_X86_64()
template <class Body>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_FLATTEN void loop_avx2(std::int64_t first, std::int64_t last, const Body& body) {
  loop_blocks(first, last, body);
}
#endif

template <class Body>
LOCKSTEP_FLATTEN void loop_baseline(std::int64_t first, std::int64_t last, const Body& body) {
  loop_blocks(first, last, body);
}

/// body(i) for i in first..last-1, in any order: the iterations are independent. Uses the widest vectors the machine
/// has.
template <class Body>
void loop(std::int64_t first, std::int64_t last, const Body& body) {
#if LOCKSTEP_X86_64()
  if (has_avx2()) return loop_avx2(first, last, body);
#endif
  loop_baseline(first, last, body);
}
/// The same for 0..n-1.
template <class Body>
void loop(std::int64_t n, const Body& body) {
  loop(0, n, body);
}

}  // namespace lockstep::cpu_backend
