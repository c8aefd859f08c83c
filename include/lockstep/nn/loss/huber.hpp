// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/elementwise.hpp>

namespace lockstep {

/// The rule of `huber`.
template <class T>
struct huber_rule {
  T delta;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, V& value, V& gradient) const {
    gradient = y - t;
    V distance = gradient;
    detail::take_magnitude(distance);
    V inner = distance;
    detail::take_at_most(inner, delta);
    value = inner * (distance - inner * T{0.5F});
    detail::clip(gradient, delta);
  }
};

/// Mean over all elements of (y - t)^2 / 2 where |y - t| < delta, else delta (|y - t| - delta / 2), as
/// torch.nn.HuberLoss. Targets have the output's extents.
struct huber {
  static constexpr std::string_view kind = "huber";

  /// Above 0.
  double delta = 1;

  template <class T>
  using target_type = T;
  template <class B>
  using op = detail::elementwise_op<B, huber>;
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
    if (!(static_cast<float>(delta) > 0)) throw value_error("huber", "a delta above zero", std::to_string(delta));
  }

  template <class T>
  [[nodiscard]] constexpr huber_rule<T> rule() const {
    return {.delta = static_cast<T>(delta)};
  }
};

}  // namespace lockstep
