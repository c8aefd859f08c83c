// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <lockstep/comm/communicator.hpp>

namespace lockstep {

/// Bits per value on the wire, where they differ from those in memory.
struct wire_bits {
  int value = 32;
};

/// All-reduces values that fit `width` bits each. Calls all_reduce(values, wire_bits) where the communicator has it,
/// and the plain all_reduce otherwise.
template <communicator C>
void all_reduce_as(C& c, std::span<float> values, wire_bits width) {
  if constexpr (requires { c.all_reduce(values, width); })
    c.all_reduce(values, width);
  else
    c.all_reduce(values);
}

}  // namespace lockstep
