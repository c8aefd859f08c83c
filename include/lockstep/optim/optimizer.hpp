// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace lockstep {

namespace detail {

struct any_rule {
  template <class States, class Rule>
  void operator()(States, const Rule&) const {}
};

}  // namespace detail

/// An optimizer: options as a value, and `rule<T>(step, with)`, which hands `with` the number of state buffers in use
/// and a function that updates one element. State is zero-filled: one flat buffer for each state in use, at most
/// `max_states`. `step` counts the earlier steps that changed the element's state; a layer that was skipped has fewer
/// than the others. An optimizer may have `begin_step(t)`, which a trainer calls before its step number t, from 0, and
/// which may throw value_error: the step then changes nothing.
template <class O>
concept optimizer = requires(const O& o, std::int64_t step, detail::any_rule with) {
  { O::max_states } -> std::convertible_to<std::size_t>;
  { o.states() } -> std::same_as<std::size_t>;
  { o.check_options() } -> std::same_as<void>;
  o.template rule<float>(step, with);
};

}  // namespace lockstep
