// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// How the elements of one sample lie in memory inside a backend. At the user's boundary the order is always `plain`.
enum class element_order : std::uint8_t {
  plain,          ///< row-major in the order of the extents: C, H, W for a picture
  channels_last,  ///< H, W, C for a sample of rank 3
};

}  // namespace lockstep
