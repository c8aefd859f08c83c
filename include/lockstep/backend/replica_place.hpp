// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <string_view>

namespace lockstep {

/// The type to which matrix products and convolutions may round their factors. Sums keep the backend's type.
enum class factor_rounding : std::uint8_t {
  none,
  tf32,  ///< 10 bits of mantissa
  bf16,  ///< 7 bits of mantissa
};

[[nodiscard]] constexpr std::string_view to_string(factor_rounding rounding) {
  switch (rounding) {
    case factor_rounding::tf32:
      return "tf32";
    case factor_rounding::bf16:
      return "bf16";
    case factor_rounding::none:
      break;
  }
  return "none";
}

/// Where a replica lives.
struct replica_place {
  int threads = 1;  ///< of the vendor's library, on a CPU
  int device = 0;   ///< index of the GPU
  factor_rounding rounding = factor_rounding::none;
};

}  // namespace lockstep
