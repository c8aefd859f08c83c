// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace lockstep_test {

struct allocation_count {
  std::size_t own = 0;  ///< asked for by this program or the C++ library
  std::size_t all = 0;  ///< those of CUDA's libraries too
  std::string first;    ///< where the first one of `own` is asked for
};

/// Whether this program can count: not under a sanitizer, and with glibc alone.
bool counts_allocations();
/// The allocations of host memory by all threads while `action` runs; none where they cannot be counted.
allocation_count count_allocations(const std::function<void()>& action);

}  // namespace lockstep_test
