// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/backend/update_terms.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Rules of `reduce_and_update` that every backend can run: function objects, because a GPU cannot run a lambda of the
/// host.

namespace lockstep {

/// The rule that a backend applies to each element: `rule` itself, or the one that its `loaded()` reads from the
/// backend's memory.
template <class Rule>
[[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr auto loaded(const Rule& rule) {
  if constexpr (requires { rule.loaded(); })
    return rule.loaded();
  else
    return rule;
}

/// sum = g.
struct assign_rule {
  template <class T>
  LOCKSTEP_HOST_DEVICE constexpr void operator()(T g, T& sum) const {
    sum = g;
  }
};

/// sum += g.
struct add_rule {
  template <class T>
  LOCKSTEP_HOST_DEVICE constexpr void operator()(T g, T& sum) const {
    sum += g;
  }
};

/// A rule that lies in the backend's memory.
template <class Rule>
struct stored_rule {
  const Rule* rule;

  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr Rule loaded() const { return *rule; }
};

/// A rule that multiplies each gradient by a factor. When MaySkip and `skips`, it changes nothing.
template <class Rule, class T, bool MaySkip>
struct scaled_rule {
  Rule rule;
  T factor;
  bool skips = false;

  template <class... State>
  LOCKSTEP_HOST_DEVICE constexpr void operator()(T g, State&... state) const {
    if constexpr (MaySkip)
      if (skips) return;
    rule(g * factor, state...);
  }
};

/// `scaled_rule` of a rule and terms in the backend's memory. When MaySkip, it skips a step whose gradients are not
/// finite.
template <class Rule, class T, bool MaySkip>
struct stored_scaled_rule {
  const Rule* rule;
  const update_terms* terms;

  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr scaled_rule<Rule, T, MaySkip> loaded() const {
    return {.rule = *rule, .factor = static_cast<T>(terms->scale), .skips = MaySkip && terms->finite == 0};
  }
};

}  // namespace lockstep
