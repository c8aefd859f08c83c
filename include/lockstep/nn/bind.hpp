// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/core/fixed_string.hpp>

namespace lockstep {

/// Gives a value a name, by which `from` reads it anywhere inside Body: `Producer` reads what arrives and computes the
/// value, and `Body` reads what arrives too. A name bound inside hides an equal one outside, and an input of the model.
/// The two have the positions 0 and 1 as names, unless they are `named`.
///
///     bind<"memory", from<"source", encoder>, from<"target", decoder>>   // decoder reads from<"memory"> in each block
template <fixed_string Name, class Producer, class Body>
struct bind {
  using bound_producer = Producer;
  using bound_body = Body;
  static constexpr std::string_view bound_name = Name.view();
};

}  // namespace lockstep
