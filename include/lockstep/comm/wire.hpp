// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <lockstep/comm/communicator.hpp>

namespace lockstep {

/// Width of a value on the wire, where it differs from the width in memory.
struct wire_bits {
  int value = 32;
};

/// All-reduces values that fit `width` bits each. A communicator that cares has all_reduce(values, wire_bits); for the
/// others this is the plain sum.
template <communicator C>
void all_reduce_as(C& c, std::span<float> values, wire_bits width) {
  if constexpr (requires { c.all_reduce(values, width); })
    c.all_reduce(values, width);
  else
    c.all_reduce(values);
}

}  // namespace lockstep
