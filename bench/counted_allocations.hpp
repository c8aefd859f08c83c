// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

/// \file
/// Replaces the allocation functions of a program by such that count. For its one source.

namespace lockstep_bench {

/// So far, of all threads.
inline std::atomic<std::size_t> allocations{0};

inline void* counted(std::size_t size, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = alignment == 0 ? std::malloc(size)
                                : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace lockstep_bench

void* operator new(std::size_t size) { return lockstep_bench::counted(size, 0); }
void* operator new(std::size_t size, std::align_val_t a) {
  return lockstep_bench::counted(size, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
