// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>

/// \file
/// Copies what a model keeps from a trainer to what predicts.

namespace lockstep::detail {

/// Parameters and buffers of a trainer or predictor, or of what has parameters alone.
template <class Holder>
  requires requires(const Holder& holder) { holder.parameters(); }
[[nodiscard]] decltype(auto) state_of(const Holder& holder) {
  if constexpr (requires { holder.state(); })
    return holder.state();
  else
    return holder.parameters();
}

/// A trainer or predictor: has named parameters with elements of type Value.
template <class T, class Value>
concept parameter_holder = requires(const T& holder) {
  { (*state_of(holder).begin()).name() } -> std::convertible_to<std::string_view>;
  { (*state_of(holder).begin()).shape() } -> std::convertible_to<dims>;
  { (*state_of(holder).begin()).values() } -> std::convertible_to<std::vector<Value>>;
};

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_state(std::string_view who, std::string_view expected,
                                                                std::string_view given) {
  throw value_error(who, expected, given, "give a trainer of the same model");
}

/// The values of a trainer's tensors, in the order of `own`. Throws value_error or shape_error when they have other
/// names or shapes.
template <class Value, class Own, class Trainer>
[[nodiscard]] std::vector<std::vector<Value>> copy_state(std::string_view who, const Own& own, const Trainer& trainer) {
  std::vector<std::vector<Value>> values;
  auto expected = own.begin();
  for (const auto& given : state_of(trainer)) {
    const std::string_view name = given.name();
    if (values.size() == own.size()) refuse_state(who, "no further parameter", name);
    const auto wanted = *expected;
    if (name != wanted.name()) refuse_state(who, wanted.name(), name);
    if (given.shape() != wanted.shape())
      throw shape_error(who, std::string(name).append(" as ").append(to_string(wanted.shape())),
                        to_string(given.shape()), "give a trainer of the same model");
    values.push_back(given.values());
    ++expected;
  }
  if (values.size() < own.size()) refuse_state(who, (*expected).name(), "no further parameter");
  return values;
}

}  // namespace lockstep::detail
