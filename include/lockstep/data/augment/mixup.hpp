// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/data/augment/describe.hpp>
#include <lockstep/data/augment/random_draws.hpp>

namespace lockstep::data {

namespace detail {

/// Draws from the gamma distribution of shape a >= 1 and scale 1.
/// Source: Marsaglia and Tsang, "A simple method for generating gamma variables", 2000.
[[nodiscard]] inline double draw_gamma(double a, random_draws& draws) {
  const double d = a - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = draws.normal();
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(1 - draws.uniform()) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
  }
}

/// Draws from the beta distribution of both shapes a > 0. A gamma of shape a is one of shape a + 1 times u^(1/a), which
/// a small a makes so small that only the ratio of two, taken in logarithms, is a number.
[[nodiscard]] inline double draw_beta(double a, random_draws& draws) {
  const auto log_gamma = [&] {
    const double whole = std::log(draw_gamma(a + 1, draws));
    return whole + (std::max)(std::log(1 - draws.uniform()) / a, -1e300);  // no infinity, whose difference is NaN
  };
  const double first = log_gamma();
  return 1 / (1 + std::exp(log_gamma() - first));
}

}  // namespace detail

/// Mixes each sample with another one: both the features and the targets become weight * own + (1 - weight) * the
/// other's, with a weight drawn from Beta(alpha, alpha) for each sample. So all fields hold floats, such as classes
/// that `one_hot` has turned into targets. The other sample is any of the epoch with equal probability, changed by the
/// transforms before mixup as it is at its own place; the weight and the choice are keyed by the sample's place in the
/// epoch, so that the size of the batch does not matter.
/// Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018.
struct mixup {
  double alpha = 1;  ///< near 0: hardly mixed; 1: any weight is as likely as another

  static constexpr bool mixes_samples = true;

  /// Throws value_error unless alpha is finite and above 0.
  template <class View>
  void check() const {
    if (!(alpha > 0 && std::isfinite(alpha)))
      throw value_error("mixup", "a finite alpha above 0", std::to_string(alpha));
  }

  [[nodiscard]] std::string describe() const { return detail::describe_call("mixup", {alpha}); }

  /// Mixes `other` into `sample`; both point to the values of each of the fields.
  template <class... Fields, class Pointers>
  void mix(const Pointers& sample, const Pointers& other, random_draws& draws) const {
    static_assert(
        (std::is_floating_point_v<typename Fields::value_type> && ...),
        "lockstep: mixup: targets are mixed too, so every field holds floats; one_hot turns classes into them");
    const double weight = detail::draw_beta(alpha, draws);
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (mix_values<Fields::size>(weight, std::get<Index>(sample), std::get<Index>(other)), ...);
    }(std::index_sequence_for<Fields...>{});
  }

 private:
  template <std::int64_t Size, class T>
  static void mix_values(double weight, T* x, const T* other) {
    const T own = static_cast<T>(weight);
    const T rest = static_cast<T>(1 - weight);
    for (std::int64_t i = 0; i < Size; ++i) x[i] = own * x[i] + rest * other[i];
  }
};

}  // namespace lockstep::data
