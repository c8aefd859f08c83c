// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <type_traits>

namespace lockstep {

/// A token inside of lockstep: an index into a vocabulary. Users hand tokens in as integers of any type.
using token_id = std::int32_t;

namespace detail {

/// The elements of an input: tokens, or values of type T. Const where T is.
template <bool AreTokens, class T>
using input_element =
    std::conditional_t<AreTokens, std::conditional_t<std::is_const_v<T>, const token_id, token_id>, T>;

}  // namespace detail

}  // namespace lockstep
