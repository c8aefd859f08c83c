// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/backend/rule.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Rules of `element_loss`: what one element of an output adds to a loss.
///
/// A rule is a trivially copyable function object. rule(y, t, value, gradient) reads an output and its target, and
/// writes the element's part of the loss and the derivative of that with respect to the output. A rule that says
/// `static constexpr bool takes_weights = true` is called as rule(y, t, weight, value, gradient). All arguments are of
/// one type and by reference: numbers, or, if the rule says `takes_vectors`, also vectors of floats. See rule.hpp for
/// how such a function is declared; nvcc takes no constants of vectors in it.

namespace lockstep {

/// Whether a rule reads a weight for each element of a sample.
template <class Rule>
inline constexpr bool takes_weights = [] {
  if constexpr (requires { Rule::takes_weights; })
    return Rule::takes_weights;
  else
    return false;
}();

/// (y - t)^2.
struct squared_difference_rule {
  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, V& value, V& gradient) const {
    const V difference = y - t;
    value = difference * difference;
    gradient = difference + difference;
  }
};

}  // namespace lockstep
