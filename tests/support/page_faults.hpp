// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <limits>

#include <sys/resource.h>

namespace lockstep_test {

/// Pages that the kernel has given to the process, or given back, so far: of all threads, read from a disk or not.
inline long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

/// The page faults while `action` runs; of several times the fewest, because a kernel that is short of memory takes
/// pages, and one that moves them between nodes looks who uses them.
template <class Action>
long steady_page_faults(const Action& action) {
  long fewest = std::numeric_limits<long>::max();
  for (int i = 0; i < 5 && fewest > 0; ++i) {
    const long before = page_faults();
    action();
    fewest = std::min(fewest, page_faults() - before);
  }
  return fewest;
}

}  // namespace lockstep_test
