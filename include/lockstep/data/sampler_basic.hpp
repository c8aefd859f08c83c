// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/shuffle.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Visits every sample once, in the data set's order.
class sequential_sampler {
 public:
  /// Throws value_error unless there is one sample or more, and fewer than 2^32.
  explicit sequential_sampler(std::int64_t samples)
      : samples_(detail::checked_samples("sequential_sampler", samples)) {}

  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  [[nodiscard]] std::int64_t size() const noexcept { return samples_; }

  /// Throws value_error unless `order` has size() entries, as every sampler's draw does.
  void draw(std::uint64_t /*epoch*/, std::span<std::int64_t> order) const {
    detail::check_order("sequential_sampler", order.size(), size());
    std::iota(order.begin(), order.end(), std::int64_t{0});
  }

 private:
  std::int64_t samples_;
};

struct random_sampler_options {
  std::int64_t draws = 0;    ///< draws in an epoch; 0 for as many as there are samples
  bool replacement = false;  ///< true: each draw is from all samples; false: no sample comes twice in an epoch
  lockstep::seed seed{};
};

/// Draws samples with equal probability. Without replacement an epoch is a random order of all samples, or the first
/// `draws` of one: the order that a loader's `.shuffle` gives for the same seed.
class random_sampler {
 public:
  /// Throws value_error when there is no sample, or there are 2^32 or more; when `draws` is negative; and, without
  /// replacement, when `draws` is above the number of samples.
  explicit random_sampler(std::int64_t samples, const random_sampler_options& options = {})
      : samples_(detail::checked_samples("random_sampler", samples)),
        draws_(options.replacement ? detail::checked_draws("random_sampler", options.draws, samples)
                                   : detail::checked_draws("random_sampler", options.draws, samples, samples)),
        replacement_(options.replacement),
        seed_(options.seed) {}

  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  [[nodiscard]] std::int64_t size() const noexcept { return draws_; }

  void draw(std::uint64_t epoch, std::span<std::int64_t> order) const {
    detail::check_order("random_sampler", order.size(), size());
    if (replacement_) {
      detail::draw_sequence draws(seed_, epoch, detail::sampler_stream::replacement);
      for (std::int64_t& index : order)
        index = static_cast<std::int64_t>(draws.below(static_cast<std::uint64_t>(samples_)));
    } else if (draws_ == samples_) {
      shuffled_order(order, seed_, epoch);
    } else {
      std::vector<std::int64_t> all(static_cast<std::size_t>(samples_));
      shuffled_order(all, seed_, epoch);
      std::copy_n(all.begin(), order.size(), order.begin());
    }
  }

 private:
  std::int64_t samples_;
  std::int64_t draws_;
  bool replacement_;
  seed seed_;
};

struct subset_sampler_options {
  bool shuffle = false;  ///< true: a new random order of the indices every epoch; false: their order as given
  lockstep::seed seed{};
};

/// Visits the given indices; an index given twice comes twice.
class subset_sampler {
 public:
  /// `samples` is the size of the data set that the indices refer to.
  /// Throws value_error when there is no index or no sample, there are 2^32 samples or more (or as many indices to
  /// shuffle), or an index is out of range.
  subset_sampler(std::vector<std::int64_t> indices, std::int64_t samples, const subset_sampler_options& options = {})
      : indices_(std::move(indices)),
        samples_(detail::checked_samples("subset_sampler", samples)),
        shuffle_(options.shuffle),
        seed_(options.seed) {
    if (indices_.empty()) throw value_error("subset_sampler", "one index or more", "none");
    if (shuffle_) (void)detail::checked_samples("subset_sampler", size());
    for (std::size_t i = 0; i < indices_.size(); ++i)
      if (indices_[i] < 0 || indices_[i] >= samples_)
        throw value_error("subset_sampler", lockstep::detail::message({"indices from 0 to ", samples_ - 1}),
                          lockstep::detail::message({indices_[i], " at place ", i}));
  }

  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(indices_.size()); }

  void draw(std::uint64_t epoch, std::span<std::int64_t> order) const {
    detail::check_order("subset_sampler", order.size(), size());
    if (!shuffle_) {
      std::copy(indices_.begin(), indices_.end(), order.begin());
      return;
    }
    shuffled_order(order, seed_, epoch);
    for (std::int64_t& place : order) place = indices_[static_cast<std::size_t>(place)];
  }

 private:
  std::vector<std::int64_t> indices_;
  std::int64_t samples_;
  bool shuffle_;
  seed seed_;
};

static_assert(sampler<sequential_sampler> && sampler<random_sampler> && sampler<subset_sampler>);

}  // namespace lockstep::data
