// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/optim/schedule/schedule.hpp>

/// \file
/// Optimizers in words, for files that outlive a run. An optimizer says its kind, a text or a function that returns
/// one, and calls `each_option(f)` with f(name, value) for each option. One that says neither goes undescribed.

namespace lockstep::detail {

/// True for an optimizer one of whose states is an average of the parameters.
template <class Optimizer>
inline constexpr bool keeps_average = requires { Optimizer::average_state; };

/// An option and its value in words.
struct described_option {
  std::string name;
  std::string value;
  bool is_choice = false;  ///< true or false: chooses what the optimizer computes, instead of how much
};

template <class T>
void append_option_value(std::string& to, const T& value) {
  if constexpr (std::same_as<T, bool>) {
    to.append(value ? "true" : "false");
  } else if constexpr (requires { value.begin(); }) {
    for (const auto& part : value) {
      if (&part != &*value.begin()) to += ',';
      append_option_value(to, part);
    }
  } else {
    char digits[40];
    to.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }
}

/// The kind of an optimizer, or of the one inside a wrapper; empty when it does not say.
template <class Optimizer>
[[nodiscard]] std::string optimizer_kind(const Optimizer& o) {
  if constexpr (requires { std::string(o.kind()); })
    return std::string(o.kind());
  else if constexpr (requires { std::string(o.kind); })
    return std::string(o.kind);
  else if constexpr (requires { o.optimizer; })
    return optimizer_kind(o.optimizer);
  else
    return {};
}

/// Appends the options of an optimizer, and those of the one inside a wrapper; of a schedule, its factor in step
/// `step`.
template <class Optimizer>
void append_options(std::vector<described_option>& to, const Optimizer& o, std::int64_t step) {
  if constexpr (requires { o.each_option([](std::string_view, const auto&) {}); }) {
    o.each_option([&](std::string_view name, const auto& value) {
      described_option option{.name = std::string(name),
                              .value = {},
                              .is_choice = std::same_as<std::remove_cvref_t<decltype(value)>, bool>};
      append_option_value(option.value, value);
      to.push_back(std::move(option));
    });
  }
  if constexpr (keeps_average<Optimizer> && requires { o.decay + 1.0; }) {
    to.push_back({.name = "average_decay", .value = {}});
    append_option_value(to.back().value, o.decay);
  }
  if constexpr (requires { o.optimizer; }) append_options(to, o.optimizer, step);
  // The factor of one with a state comes from what the checkpoint holds of it.
  if constexpr (
      requires {
        { o.schedule } -> learning_rate_schedule;
      } &&
      !requires {
        { o.schedule } -> stateful_schedule;
      }) {
    to.push_back({.name = "schedule_factor", .value = {}});
    try {
      // C libraries differ in the last digits of a cosine.
      char digits[40];
      const auto factor = static_cast<double>(o.schedule(step));
      to.back().value.append(digits,
                             std::to_chars(digits, digits + sizeof digits, factor, std::chars_format::general, 6).ptr);
    } catch (const value_error&) {
      to.back().value = "none, it has ended";
    }
  }
}

/// Calls f(schedule) with the schedule inside an optimizer that has state; for other optimizers does nothing.
template <class Optimizer, class F>
void with_stateful_schedule(Optimizer& o, const F& f) {
  if constexpr (requires {
                  { o.schedule } -> stateful_schedule;
                })
    f(o.schedule);
  else if constexpr (requires { o.optimizer; })
    with_stateful_schedule(o.optimizer, f);
}

}  // namespace lockstep::detail
