// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

namespace lockstep::cuda_backend {

/// Width floats that are loaded and stored at once.
template <int Width>
struct alignas(Width * sizeof(float)) float_packet {
  float values[Width];
};

/// Whether the rows of row-major matrices with that many columns, which begin there, are whole packets.
template <int Width, class... Pointers>
[[nodiscard]] bool fits_packets(std::int64_t columns, const Pointers*... begin) {
  return columns % Width == 0 && ((reinterpret_cast<std::uintptr_t>(begin) % alignof(float_packet<Width>) == 0) && ...);
}

}  // namespace lockstep::cuda_backend
