// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/elementwise.hpp>

namespace lockstep {

/// The rule of `smooth_l1`; beta is above zero.
template <class T>
struct smooth_l1_rule {
  T beta;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, V& value, V& gradient) const {
    const V difference = y - t;
    gradient = difference / beta;
    detail::clip(gradient, T{1});
    V distance = difference;
    detail::take_magnitude(distance);
    V inner = distance;
    detail::take_at_most(inner, beta);
    value = gradient;
    detail::take_magnitude(value);
    value *= distance - inner * T{0.5F};
  }
};

/// Mean over all elements of (y - t)^2 / (2 beta) where |y - t| < beta, else |y - t| - beta / 2, as
/// torch.nn.SmoothL1Loss. Targets have the output's extents.
struct smooth_l1 {
  static constexpr std::string_view kind = "smooth_l1";

  /// Zero or more; zero makes it `l1`.
  double beta = 1;

  template <class T>
  using target_type = T;
  template <class B>
  using op = detail::elementwise_op<B, smooth_l1>;
  template <class B>
  static constexpr bool runs_on = measures_elements<B>;

  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return output.size(); }

  /// The denominator is the number of elements. It reads no targets, which need not lie in the host's
  /// memory for it.
  static constexpr bool denominator_reads_targets = false;
  template <class T>
  [[nodiscard]] static double denominator(const T*, std::int64_t count, const dims&) {
    return static_cast<double>(count);
  }

  /// Throws value_error when an option is out of its domain.
  void check_options(const dims&) const {
    if (!(beta >= 0)) throw value_error("smooth_l1", "a beta of zero or more", std::to_string(beta));
  }

  template <class T>
  [[nodiscard]] constexpr smooth_l1_rule<T> rule() const {
    // No difference of numbers of an ordinary size is between zero and this.
    return {.beta = (std::max)(static_cast<T>(beta), (std::numeric_limits<T>::min)())};
  }
};

}  // namespace lockstep
