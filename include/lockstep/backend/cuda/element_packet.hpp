// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <cuda_bf16.h>

namespace lockstep::cuda_backend {

using bfloat16 = __nv_bfloat16;

/// Width elements that a thread loads or stores at once.
template <class T, int Width>
struct alignas(Width * sizeof(T)) element_packet {
  T values[Width];
};

/// Elements in 16 bytes, the most that a thread loads or stores at once.
template <class T>
inline constexpr int widest_packet = 16 / static_cast<int>(sizeof(T));

/// Whether the rows of the row-major matrices at `begin`, of `columns` columns each, are whole packets.
template <int Width, class... T>
[[nodiscard]] bool fits_packets(std::int64_t columns, const T*... begin) {
  return columns % Width == 0 &&
         ((reinterpret_cast<std::uintptr_t>(begin) % alignof(element_packet<T, Width>) == 0) && ...);
}

}  // namespace lockstep::cuda_backend
