// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/core/fixed_string.hpp>
#include <lockstep/nn/identity.hpp>

namespace lockstep {

/// Reads an input of the model, or a value that `bind` has named, in place of what arrives: `Body` gets that value. The
/// first layer of every branch of a network with several `inputs` stands inside a `from`, or after one in a
/// `sequential`. An input may be read at any depth and any number of times. Adds nothing to the paths of parameters, as
/// `frozen`.
template <fixed_string Name, class Body = identity>
struct from {
  using from_body = Body;
  static constexpr std::string_view input_name = Name.view();
};

}  // namespace lockstep
