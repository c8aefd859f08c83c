// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdlib>
#include <vector>

#include <dirent.h>
#include <sched.h>

namespace lockstep::detail {

/// The processors that the calling thread may use and that no thread of this process claims. A thread claims the
/// processors to which it is bound when they are fewer than the caller may use. The answer comes from the kernel, so
/// that trainers of one process, and other code that binds threads, need not know of each other. Empty when the kernel
/// does not tell which processors the caller may use.
[[nodiscard]] inline std::vector<int> unclaimed_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return {};
  cpu_set_t free = allowed;
  if (DIR* threads = opendir("/proc/self/task")) {
    while (const dirent* entry = readdir(threads)) {
      const int thread = std::atoi(entry->d_name);
      cpu_set_t own;
      CPU_ZERO(&own);
      if (thread <= 0 || sched_getaffinity(thread, sizeof own, &own) != 0) continue;
      if (CPU_COUNT(&own) >= CPU_COUNT(&allowed)) continue;
      for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &own)) CPU_CLR(cpu, &free);
    }
    closedir(threads);
  }
  std::vector<int> all;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &free)) all.push_back(cpu);
  return all;
}

/// Processors [first, first + count) of a list, as a set.
[[nodiscard]] inline cpu_set_t processor_set(const std::vector<int>& processors, std::size_t first, std::size_t count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (std::size_t i = first; i < first + count; ++i) CPU_SET(static_cast<std::size_t>(processors[i]), &set);
  return set;
}

}  // namespace lockstep::detail
