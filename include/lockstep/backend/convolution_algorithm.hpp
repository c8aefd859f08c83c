// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// How a backend computes convolutions of 3 x 3 with stride 1.
enum class convolution_algorithm : std::uint8_t {
  direct,  ///< by the sums that define them
  f2,      ///< by Winograd's F(2 x 2, 3 x 3), where it saves multiplications
  f4,      ///< by Winograd's F(4 x 4, 3 x 3), where it saves multiplications
};

}  // namespace lockstep
