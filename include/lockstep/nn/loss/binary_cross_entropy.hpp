// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/element_exponential.hpp>
#include <lockstep/backend/element_math.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/check_targets.hpp>

namespace lockstep {

namespace detail {

/// -weight t log(s(y)) - (1 - t) log(1 - s(y)) of a logit y, with s the logistic function, and its derivative. Nothing
/// is subtracted from anything near it: both are precise where they are small, too. T is the type of a number.
template <class T, class V, class Weight>
LOCKSTEP_ALWAYS_INLINE constexpr void binary_cross_entropy(const V& y, const V& t, const Weight& weight, V& value,
                                                           V& gradient) {
  V positive = y;
  take_at_least(positive, T{0});
  const V negative = positive - y;
  V power = y;  // e^-|y|
  take_magnitude(power);
  power = -power;
  take_exponential(power);
  V logarithm = power;
  take_log_one_plus(logarithm);
  const V of_one = weight * t;
  const V of_zero = T{1} - t;
  value = of_zero * (positive + logarithm) + of_one * (negative + logarithm);
  V sigmoid = T{1} / (T{1} + power);  // s(y), where y is not negative
  V rest = sigmoid * power;           // s(-y)
  swap_where_negative(y, sigmoid, rest);
  gradient = of_zero * sigmoid - of_one * rest;
}

}  // namespace detail

/// The rule of `binary_cross_entropy_with_logits`.
template <class T>
struct binary_cross_entropy_rule {
  T weight;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, V& value, V& gradient) const {
    detail::binary_cross_entropy<T>(y, t, weight, value, gradient);
  }
};

/// The same with a weight for each element of a sample.
template <class T>
struct weighted_binary_cross_entropy_rule {
  static constexpr bool takes_vectors = true;
  static constexpr bool takes_weights = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, const V& weight, V& value,
                                                   V& gradient) const {
    detail::binary_cross_entropy<T>(y, t, weight, value, gradient);
  }
};

/// Mean over all elements of the binary cross entropy between the logistic function of a logit and a target in [0, 1],
/// as torch.nn.BCEWithLogitsLoss. Targets have the output's extents.
struct binary_cross_entropy_with_logits {
  static constexpr std::string_view kind = "binary_cross_entropy_with_logits";

  /// Multiplies the part of the loss that belongs to t: one weight for each element of an output, in the order of its
  /// extents; or one for all; empty: 1. Weights do not enter the denominator.
  std::vector<float> pos_weight{};

  template <class T>
  using target_type = T;
  template <class B>
  static constexpr bool runs_on = measures_elements<B>;

  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return output.size(); }

  /// Throws value_error when an option is out of its domain.
  void check_options(const dims& output) const {
    const auto given = static_cast<std::int64_t>(pos_weight.size());
    if (given > 1 && given != output.size())
      throw value_error(
          kind, std::to_string(output.size()) + " positive weights, one for each element of an output, or one for all",
          std::to_string(given));
    for (const float w : pos_weight)
      if (!(w >= 0.F)) throw value_error(kind, "positive weights of zero or more", std::to_string(w));
  }

  /// The number of elements. Throws value_error for a target outside [0, 1]; PyTorch would go on with it.
  template <class T>
  [[nodiscard]] static double denominator(const T* targets, std::int64_t count, const dims& output) {
    detail::check_targets(kind, "a target in [0, 1]", targets, count, output.size(), T{0}, T{1});
    return static_cast<double>(count);
  }

  /// The loss on one replica of a backend, with its own copy of the weights.
  template <class B>
  class op {
   public:
    using activation = typename B::activation_type;
    using value = typename B::value_type;
    using context = typename B::context;

    op(context& c, const binary_cross_entropy_with_logits& loss)
        : rule_{.weight = loss.pos_weight.empty() ? value{1} : static_cast<value>(loss.pos_weight.front())} {
      if (loss.pos_weight.size() < 2) return;
      const std::vector<value> weights(loss.pos_weight.begin(), loss.pos_weight.end());
      weights_ = B::template allocate<value>(c, static_cast<std::int64_t>(weights.size()));
      B::copy_in(c, weights_.size(), weights.data(), weights_.data());
      B::finish(c);
    }

    /// Adds the losses of `samples` outputs to *sum and writes their gradient, times now->scale, to dy unless dy is
    /// null.
    void forward_backward(context& c, std::int64_t samples, const dims& output, const activation* y,
                          const value* targets, activation* dy, const step_values* now, double* sum) const {
      if constexpr (measures_elements<B>) {
        if (weights_.size() == 0)
          B::element_loss(c, samples, output.size(), rule_, nullptr, y, targets, dy, now, sum);
        else
          B::element_loss(c, samples, output.size(), weighted_binary_cross_entropy_rule<value>{}, weights_.data(), y,
                          targets, dy, now, sum);
      }
    }

   private:
    binary_cross_entropy_rule<value> rule_;
    typename B::template buffer<value> weights_{};
  };

  /// Number of samples all of whose outputs are on the side of zero where their targets are of 1/2.
  template <class T>
  [[nodiscard]] static std::int64_t correct(std::int64_t samples, const dims& output, const T* y, const T* targets) {
    std::int64_t hits = 0;
    for (std::int64_t s = 0; s < samples; ++s, y += output.size(), targets += output.size()) {
      bool hit = true;
      for (std::int64_t i = 0; hit && i < output.size(); ++i) hit = (y[i] > T{0}) == (targets[i] > T{0.5F});
      if (hit) ++hits;
    }
    return hits;
  }
};

}  // namespace lockstep
