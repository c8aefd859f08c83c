// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/element_exponential.hpp>
#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/check_targets.hpp>
#include <lockstep/nn/loss/elementwise.hpp>

namespace lockstep {

/// The rule of `kullback_leibler`.
template <class T>
struct kullback_leibler_rule {
  bool log_target;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, V& value, V& gradient) const {
    V probability = t;
    V logarithm = t;
    if (log_target) {
      detail::take_exponential(probability);
    } else {
      // A probability of zero adds nothing, where y is finite.
      detail::take_at_least(logarithm, (std::numeric_limits<T>::min)());
      detail::take_logarithm(logarithm);
    }
    value = probability * (logarithm - y);
    gradient = -probability;
  }
};

/// The divergence of Kullback and Leibler of log-probabilities y from target probabilities t: the sum over a sample's
/// elements of t (log(t) - y), divided by the number of samples, as torch.nn.KLDivLoss(reduction="batchmean"). Targets
/// have the output's extents. End the network with log-probabilities, not with logits.
struct kullback_leibler {
  static constexpr std::string_view kind = "kullback_leibler";

  /// Targets are logarithms of probabilities.
  bool log_target = false;
  /// Divides by the number of elements instead, as PyTorch's reduction="mean". That is no divergence.
  bool mean_of_elements = false;

  template <class T>
  using target_type = T;
  template <class B>
  using op = detail::elementwise_op<B, kullback_leibler>;
  template <class B>
  static constexpr bool runs_on = measures_elements<B>;

  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return output.size(); }

  /// The number of samples, or of elements. Throws value_error for a target that is negative or NaN, unless targets are
  /// logarithms.
  template <class T>
  [[nodiscard]] double denominator(const T* targets, std::int64_t count, const dims& output) const {
    if (!log_target)
      detail::check_targets(kind, "a target of zero or more", targets, count, output.size(), T{0},
                            std::numeric_limits<T>::infinity());
    return static_cast<double>(mean_of_elements ? count : count / output.size());
  }

  template <class T>
  [[nodiscard]] constexpr kullback_leibler_rule<T> rule() const {
    return {.log_target = log_target};
  }
};

}  // namespace lockstep
