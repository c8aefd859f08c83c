// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include <dirent.h>
#include <sched.h>

namespace lockstep::detail {

/// What is known of the processors: those that the calling thread may use, and by how many threads of this process each
/// is claimed. A thread claims the processors to which it is bound when they are fewer than the caller may use. The
/// answer comes from the kernel, so that trainers of one process, and other code that binds threads, need not know of
/// each other.
struct processor_claims {
  /// Asks the kernel.
  processor_claims() {
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) CPU_ZERO(&allowed);
    DIR* threads = opendir("/proc/self/task");
    if (threads == nullptr) return;
    while (const dirent* entry = readdir(threads)) {
      const int thread = std::atoi(entry->d_name);
      cpu_set_t own;
      CPU_ZERO(&own);
      if (thread <= 0 || sched_getaffinity(thread, sizeof own, &own) != 0) continue;
      if (CPU_COUNT(&own) >= CPU_COUNT(&allowed)) continue;
      for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &own)) ++threads_at[cpu];
    }
    closedir(threads);
  }

  /// The processors that the caller may use and that no thread claims; none when the kernel does not tell.
  [[nodiscard]] std::vector<int> unclaimed() const {
    std::vector<int> all;
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed) && threads_at[cpu] == 0) all.push_back(static_cast<int>(cpu));
    return all;
  }

  cpu_set_t allowed;  ///< empty when the kernel does not tell
  std::array<int, CPU_SETSIZE> threads_at{};
};

/// Processors [first, first + count) of a list, as a set.
[[nodiscard]] inline cpu_set_t processor_set(const std::vector<int>& processors, std::size_t first, std::size_t count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (std::size_t i = first; i < first + count; ++i) CPU_SET(static_cast<std::size_t>(processors[i]), &set);
  return set;
}

}  // namespace lockstep::detail
