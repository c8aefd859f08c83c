// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>
#if !LOCKSTEP_X86_64()
#include <thread>
#endif

namespace lockstep {

/// Turns to spin before a thread sleeps, about 50 microseconds: longer than threads in step are apart, shorter than a
/// time slice.
inline constexpr int spin_limit = 2000;

/// True as soon as `done()` is; false when it is not after `turns` pauses.
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
