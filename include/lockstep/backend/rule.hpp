// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <lockstep/backend/element_math.hpp>
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

/// Whether a rule says `static constexpr bool takes_vectors = true`: its function is a template that is
/// LOCKSTEP_ALWAYS_INLINE, whose arguments are numbers or vectors of floats, of whatever length the processor has, all
/// by reference. It is constexpr instead of LOCKSTEP_HOST_DEVICE, in which nvcc refuses vectors. Such a rule gives an
/// element the same bits wherever a range of elements begins.
template <class Rule>
inline constexpr bool takes_vectors = [] {
  if constexpr (requires { Rule::takes_vectors; })
    return Rule::takes_vectors;
  else
    return false;
}();

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

/// A rule that multiplies each gradient by a factor, and then clips it to [-limit, limit]. When MaySkip and `skips`, it
/// changes nothing.
template <class Rule, class T, bool MaySkip>
struct scaled_rule {
  Rule rule;
  T factor;
  T limit = std::numeric_limits<T>::infinity();
  bool skips = false;

  static constexpr bool takes_vectors = lockstep::takes_vectors<Rule>;

  template <class V, class... State>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, State&... state) const {
    if constexpr (MaySkip)
      if (skips) return;
    V clipped = g * factor;
    detail::clip(clipped, limit);
    rule(clipped, state...);
  }
};

/// `scaled_rule` of a rule and terms in the backend's memory; null terms have a scale of 1. When MaySkip, it skips a
/// step whose gradients are not finite.
template <class Rule, class T, bool MaySkip>
struct stored_scaled_rule {
  const Rule* rule;
  const update_terms* terms;
  T limit = std::numeric_limits<T>::infinity();

  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr scaled_rule<Rule, T, MaySkip> loaded() const {
    if (terms == nullptr) return {.rule = *rule, .factor = T{1}, .limit = limit};
    return {
        .rule = *rule, .factor = static_cast<T>(terms->scale), .limit = limit, .skips = MaySkip && terms->finite == 0};
  }
};

}  // namespace lockstep
