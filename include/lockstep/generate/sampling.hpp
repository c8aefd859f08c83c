// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/token.hpp>

namespace lockstep {

/// How a token is chosen from logits. At temperature 0 it is the most likely one. Else logits are divided by the
/// temperature; of the `top_k` most likely tokens (0: all), the fewest remain whose probabilities add up to `top_p`;
/// one of these is drawn. As `generate` of transformers with do_sample.
struct sampling {
  double temperature = 0;
  std::int64_t top_k = 0;
  double top_p = 1;
  /// Keys the draws, together with the number of the prompt and the position of the token.
  lockstep::seed seed{0};

  /// Throws value_error for an option out of its domain.
  void check() const {
    if (!(temperature >= 0) || !std::isfinite(temperature))
      throw value_error("generator", "a temperature of zero or more", std::to_string(temperature));
    if (top_k < 0) throw value_error("generator", "top_k of one token or more, or 0 for all", std::to_string(top_k));
    if (!(top_p > 0 && top_p <= 1))
      throw value_error("generator", "top_p above 0 and at most 1", std::to_string(top_p));
  }
};

namespace detail {

/// Chooses tokens; keeps its memory from call to call.
class token_sampler {
 public:
  /// The token that follows, as `how` says; `draw` lies in [0, 1). Throws value_error when no logit is a number.
  [[nodiscard]] token_id choose(std::span<const float> logits, const sampling& how, float draw) {
    const auto top = std::max_element(logits.begin(), logits.end(),
                                      [](float a, float b) { return std::isnan(b) ? false : std::isnan(a) || a < b; });
    if (!std::isfinite(*top))
      throw value_error("generator", "logits that are numbers", "none", "train with a lower learning rate");
    if (how.temperature == 0) return static_cast<token_id>(top - logits.begin());
    order_.resize(logits.size());
    std::iota(order_.begin(), order_.end(), token_id{0});
    std::erase_if(order_, [&](token_id t) { return std::isnan(logits[static_cast<std::size_t>(t)]); });
    const auto more_likely = [&](token_id a, token_id b) {
      const float of_a = logits[static_cast<std::size_t>(a)];
      const float of_b = logits[static_cast<std::size_t>(b)];
      return of_a > of_b || (of_a == of_b && a < b);
    };
    const auto kept = how.top_k == 0 ? order_.size() : (std::min)(order_.size(), static_cast<std::size_t>(how.top_k));
    std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end(), more_likely);
    order_.resize(kept);
    weights_.clear();
    double sum = 0;
    for (const token_id t : order_) {
      const double distance = double{logits[static_cast<std::size_t>(t)]} - double{*top};
      sum += weights_.emplace_back(std::exp(distance / how.temperature));
    }
    if (how.top_p < 1) {
      double likely = 0;
      std::size_t count = 0;
      while (count < weights_.size() && likely < how.top_p * sum) likely += weights_[count++];
      weights_.resize((std::max)(count, std::size_t{1}));
      sum = likely;
    }
    double rest = double{draw} * sum;
    for (std::size_t i = 0; i + 1 < weights_.size(); ++i) {
      if (rest < weights_[i]) return order_[i];
      rest -= weights_[i];
    }
    return order_[weights_.size() - 1];
  }

 private:
  std::vector<token_id> order_;
  std::vector<double> weights_;
};

}  // namespace detail

}  // namespace lockstep
