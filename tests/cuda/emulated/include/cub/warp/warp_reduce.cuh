// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "cub/first_thread_reduce.hpp"

namespace cub {

/// Stands in for CUB's.
template <class T, int Threads>
using WarpReduce = emulated::first_thread_reduce<T, Threads, emulated::warp_barrier>;

}  // namespace cub
