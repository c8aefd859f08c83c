// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::bf16 {

/// True when the processor rounds to bfloat16 and multiplies such numbers: AVX512_BF16.
[[nodiscard]] inline bool is_supported() noexcept {
#if LOCKSTEP_X86_64()
  static const bool yes = has<float_x16>() && __builtin_cpu_supports("avx512bf16") != 0;
  return yes;
#else
  return false;
#endif
}

/// Throws value_error unless `supported`.
inline void require_support(bool supported) {
  if (!supported)
    throw value_error("cpu bf16", "a processor with AVX512_BF16 for precision::bf16", "one without it",
                      "use precision::fp32");
}

/// What a replica of passes in bfloat16 keeps beside what the CPU backend's keeps: room for what is computed in float.
class context : public cpu_backend::context {
 public:
  /// Throws value_error when the processor cannot compute in bfloat16, and what the CPU backend's context throws.
  explicit context(const replica_place& place) : cpu_backend::context((require_support(is_supported()), place)) {}

  /// Room for `size` floats, valid until the next call for the same `slot`; not the memory of `workspace`. Grows when
  /// `size` exceeds all earlier ones.
  template <std::size_t Slot>
  [[nodiscard]] float* floats(std::int64_t size) {
    aligned_buffer<float>& room = std::get<Slot>(floats_);
    if (room.size() < size) room = aligned_buffer<float>(size);
    return room.data();
  }

 private:
  std::array<aligned_buffer<float>, 4> floats_;
};

}  // namespace lockstep::cpu_backend::bf16
