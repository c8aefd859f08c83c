// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

namespace detail {

/// Draws an exponential variate of mean 1 by comparing uniform numbers. A logarithm would differ in its last bit from
/// one C library to the next.
/// Source: von Neumann, "Various techniques used in connection with random digits", 1951.
[[nodiscard]] inline double exponential(draw_sequence& draws) {
  for (double whole = 0;; whole += 1) {
    const std::uint64_t first = draws.next();
    // The run first > second > ... has odd length with probability exp(-first).
    bool odd = true;
    for (std::uint64_t last = first, next = draws.next(); next < last; next = draws.next()) {
      last = next;
      odd = !odd;
    }
    if (odd) return whole + static_cast<double>(first >> 11U) * 0x1p-53;
  }
}

/// Draws from a discrete distribution in constant time: chooses a column, all equally likely, then the column's own
/// index or its other one.
/// Source: Vose, "A linear algorithm for generating random numbers with a given distribution", 1991.
class alias_table {
 public:
  alias_table() = default;

  /// `weights` must be finite and not negative, and at least one must be above zero.
  explicit alias_table(std::span<const double> weights) : columns_(weights.size()) {
    const auto heaviest = std::max_element(weights.begin(), weights.end());
    const auto heaviest_place = static_cast<std::uint32_t>(heaviest - weights.begin());
    // Weights divided by the heaviest neither overflow nor all vanish. Nothing here multiplies, so no compiler can fuse
    // two roundings into one and change a draw.
    double total = 0;
    for (const double w : weights) total += w / *heaviest;
    const double mean = total / static_cast<double>(weights.size());
    std::vector<double> share(weights.size());
    std::vector<std::uint32_t> waiting(weights.size());  // below the mean from the front, the others from the back
    std::size_t below_mean = 0;
    std::size_t others = weights.size();
    for (std::uint32_t i = 0; i < weights.size(); ++i) {
      share[i] = weights[i] / *heaviest / mean;
      waiting[share[i] < 1 ? below_mean++ : --others] = i;
      // An index that rounding leaves unpaired keeps its column to itself, unless it must never be drawn.
      columns_[i] = weights[i] > 0 ? column{1, i} : column{0, heaviest_place};
    }
    while (below_mean > 0 && others < weights.size()) {
      const std::uint32_t below = waiting[--below_mean];
      const std::uint32_t above = waiting[others];
      columns_[below] = {share[below], above};
      share[above] = (share[above] + share[below]) - 1;
      if (share[above] < 1) {
        ++others;
        waiting[below_mean++] = above;
      }
    }
  }

  [[nodiscard]] std::int64_t operator()(draw_sequence& draws) const {
    const std::size_t place = draws.below(columns_.size());
    const column& chosen = columns_[place];
    return draws.unit() < chosen.own_share ? static_cast<std::int64_t>(place) : chosen.other;
  }

 private:
  struct column {
    double own_share;
    std::uint32_t other;
  };

  std::vector<column> columns_;
};

}  // namespace detail

struct weighted_sampler_options {
  std::int64_t draws = 0;   ///< draws in an epoch; 0 for one a sample, or, without replacement, one a positive weight
  bool replacement = true;  ///< true: each draw is from all samples; false: no sample comes twice in an epoch
  lockstep::seed seed{};
};

/// Draws samples with a probability proportional to their weights; a sample of weight zero never comes. With
/// replacement a draw takes constant time. Without replacement each draw is among the samples that are left, and an
/// epoch computes a key for every positive weight and sorts the keys drawn.
/// Source: Efraimidis, Spirakis, "Weighted random sampling with a reservoir", 2006.
class weighted_sampler {
 public:
  /// Takes one weight a sample; weights need not sum to one.
  /// Throws value_error when there is no weight, or there are 2^32 or more; when one is negative, infinite or NaN, or
  /// all are zero; when `draws` is negative; and, without replacement, when `draws` is above the number of positive
  /// weights.
  explicit weighted_sampler(std::vector<double> weights, const weighted_sampler_options& options = {})
      : samples_(detail::checked_samples("weighted_sampler", static_cast<std::int64_t>(weights.size()))),
        replacement_(options.replacement),
        seed_(options.seed) {
    const std::int64_t positive = checked_positive(weights);
    if (replacement_) {
      draws_ = detail::checked_draws("weighted_sampler", options.draws, samples_);
      table_ = detail::alias_table(weights);
    } else {
      draws_ = detail::checked_draws("weighted_sampler", options.draws, positive, positive);
      weights_ = std::move(weights);
    }
  }

  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  [[nodiscard]] std::int64_t size() const noexcept { return draws_; }

  void draw(std::uint64_t epoch, std::span<std::int64_t> order) const {
    detail::check_order("weighted_sampler", order.size(), size());
    if (!replacement_) return race(epoch, order);
    detail::draw_sequence draws(seed_, epoch, detail::sampler_stream::weighted);
    for (std::int64_t& index : order) index = table_(draws);
  }

 private:
  /// Returns the number of positive weights. Throws as the constructor does.
  [[nodiscard]] static std::int64_t checked_positive(std::span<const double> weights) {
    std::int64_t positive = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (!std::isfinite(weights[i]) || weights[i] < 0)
        throw value_error("weighted_sampler", "finite weights of zero or more",
                          lockstep::detail::message({std::to_string(weights[i]), " for sample ", i}));
      if (weights[i] > 0) ++positive;
    }
    if (positive == 0)
      throw value_error("weighted_sampler", "a weight above zero",
                        lockstep::detail::message({weights.size(), " weights, all zero"}));
    return positive;
  }

  /// Each sample arrives after an exponential time of rate `weight`; the first to arrive are drawn, in the order of
  /// arrival.
  void race(std::uint64_t epoch, std::span<std::int64_t> order) const {
    detail::draw_sequence draws(seed_, epoch, detail::sampler_stream::race);
    std::vector<std::pair<double, std::int64_t>> arrivals;
    arrivals.reserve(weights_.size());
    for (std::size_t i = 0; i < weights_.size(); ++i)
      if (weights_[i] > 0)
        arrivals.emplace_back(detail::exponential(draws) / weights_[i], static_cast<std::int64_t>(i));
    const auto drawn = arrivals.begin() + static_cast<std::ptrdiff_t>(order.size());
    if (drawn != arrivals.end()) std::nth_element(arrivals.begin(), drawn, arrivals.end());
    std::sort(arrivals.begin(), drawn);
    std::transform(arrivals.begin(), drawn, order.begin(), [](const auto& arrival) { return arrival.second; });
  }

  std::int64_t samples_;
  std::int64_t draws_ = 0;
  bool replacement_;
  seed seed_;
  detail::alias_table table_;    // with replacement
  std::vector<double> weights_;  // without
};

static_assert(sampler<weighted_sampler>);

}  // namespace lockstep::data
