// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// A number of an option in words, as short as can be.
[[gnu::cold, gnu::noinline]] inline std::string option_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

/// Throws value_error unless `holds`: `where` expected `what`, got `value`.
inline void check_option(bool holds, std::string_view where, std::string_view what, double value) {
  if (!holds) throw value_error(where, what, option_text(value));
}

/// Throws value_error unless the count is one or more.
inline void check_count(std::string_view where, std::string_view what, std::int64_t count) {
  if (count < 1) throw value_error(where, what, std::to_string(count));
}

/// Throws value_error for a step after a schedule's last.
[[noreturn, gnu::cold, gnu::noinline]] inline void throw_schedule_ended(std::string_view where, std::int64_t last,
                                                                        std::int64_t step) {
  throw value_error(where, "steps from 0 to " + std::to_string(last), "step " + std::to_string(step),
                    "give it the steps of the whole training, or set hold");
}

/// The options that most optimizers have, as PyTorch checks them.
inline void check_rate_and_decay(std::string_view where, double learning_rate, double weight_decay) {
  check_option(learning_rate >= 0, where, "a learning_rate of zero or more", learning_rate);
  check_option(weight_decay >= 0, where, "a weight_decay of zero or more", weight_decay);
}
inline void check_epsilon(std::string_view where, double eps) {
  check_option(eps >= 0, where, "an eps of zero or more", eps);
}
template <class Betas>
void check_betas(std::string_view where, const Betas& betas) {
  check_option(betas[0] >= 0 && betas[0] < 1, where, "a first beta from zero to below one", betas[0]);
  check_option(betas[1] >= 0 && betas[1] < 1, where, "a second beta from zero to below one", betas[1]);
}

}  // namespace lockstep::detail
