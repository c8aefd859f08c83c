// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>
#if !LOCKSTEP_X86_64()
#include <thread>
#endif

namespace lockstep {

/// How many turns a thread spins before it sleeps, about 50 microseconds: longer than threads in lockstep are apart,
/// shorter than a time slice.
inline constexpr int spin_limit = 2000;

/// Returns true as soon as `done()` does, or false when it does not within `turns` pauses.
template <class Done>
[[nodiscard]] bool spin_until(int turns, const Done& done) {
  for (int i = 0; i < turns; ++i) {
    if (done()) return true;
#if LOCKSTEP_X86_64()
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }
  return done();
}

}  // namespace lockstep
