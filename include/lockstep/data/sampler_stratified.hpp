// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/shuffle.hpp>

namespace lockstep::data {

struct stratified_sampler_options {
  std::int64_t batch = 64;  ///< samples in a batch, the loader's `.batch`
  lockstep::seed seed{};
};

/// Visits every sample once. Every batch holds the classes in the proportions of the data set: a class with n of the N
/// samples has n * batch / N samples in a batch, rounded up or down. The last, shorter batch does the same, rounded to
/// be nearest to the proportions. Chance decides which samples a batch holds, which classes a whole batch rounds up,
/// and the order in a batch.
///
/// Drawing an epoch takes time in proportion to samples + batches * classes.
class stratified_sampler {
 public:
  /// Takes one label a sample, such as `train.labels()`; labels may be any numbers.
  /// Throws value_error when there is no label, there are 2^32 or more, or `batch` is below one.
  explicit stratified_sampler(std::span<const std::int64_t> labels, const stratified_sampler_options& options = {})
      : samples_(detail::checked_samples("stratified_sampler", static_cast<std::int64_t>(labels.size()))),
        batch_(detail::checked_batch("stratified_sampler", options.batch)),
        seed_(options.seed),
        members_(labels.size()) {
    std::iota(members_.begin(), members_.end(), std::int64_t{0});
    const auto label = [&](std::int64_t sample) { return labels[static_cast<std::size_t>(sample)]; };
    std::stable_sort(members_.begin(), members_.end(),
                     [&](std::int64_t a, std::int64_t b) { return label(a) < label(b); });
    for (std::size_t first = 0; first < members_.size();) {
      std::size_t end = first;
      while (end < members_.size() && label(members_[end]) == label(members_[first])) ++end;
      strata_.push_back({first, end - first});
      first = end;
    }
    apportion();
  }

  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  [[nodiscard]] std::int64_t size() const noexcept { return samples_; }
  [[nodiscard]] std::int64_t batch() const noexcept { return batch_; }

  void draw(std::uint64_t epoch, std::span<std::int64_t> order) const {
    detail::check_order("stratified_sampler", order.size(), size());
    detail::draw_sequence draws(seed_, epoch, detail::sampler_stream::strata);
    std::vector<std::int64_t> members = members_;
    std::vector<std::size_t> next;  // position in members of each class's next sample
    next.reserve(strata_.size());
    std::vector<entry> extras;
    for (std::size_t c = 0; c < strata_.size(); ++c) {
      const stratum& s = strata_[c];
      detail::shuffle(std::span(members).subspan(s.first, s.count), draws);
      next.push_back(s.first);
      if (s.extras > 0) extras.push_back({c, s.extras});
    }

    std::int64_t* out = order.data();
    const auto take = [&](std::size_t c, std::size_t count) {
      out = std::copy_n(members.data() + next[c], count, out);
      next[c] += count;
    };
    const std::size_t full = whole_batches();
    for (std::size_t batch = 0; batch < full; ++batch) {
      std::int64_t* const begin = out;
      for (std::size_t c = 0; c < strata_.size(); ++c) take(c, strata_[c].in_batch);
      take_extras(extras, full - batch, draws, take);
      detail::shuffle(std::span(begin, out), draws);
    }
    std::int64_t* const begin = out;
    for (std::size_t c = 0; c < strata_.size(); ++c) take(c, strata_[c].in_last);
    detail::shuffle(std::span(begin, out), draws);
  }

 private:
  /// One class.
  struct stratum {
    std::size_t first;         // position in members_
    std::size_t count;         // samples of the class
    std::size_t in_batch = 0;  // samples in every whole batch
    std::size_t extras = 0;    // whole batches that hold one more
    std::size_t in_last = 0;   // samples in the last batch, when that is not whole
  };

  struct entry {
    std::size_t stratum;
    std::size_t left;  // batches to come in which the class has one more sample
  };

  [[nodiscard]] std::size_t whole_batches() const noexcept { return static_cast<std::size_t>(samples_ / batch_); }

  /// Gives every class the whole part of its share of each batch, and fills the last batch up by largest remainders.
  /// That leaves between 0 and `whole_batches()` samples of a class, whichever way its share of the last batch was
  /// rounded, so at most one more in each whole batch.
  void apportion() {
    const std::uint64_t all = members_.size();
    const std::size_t full = whole_batches();
    const std::uint64_t whole = full == 0 ? 0 : static_cast<std::uint64_t>(batch_);
    const std::uint64_t last = all - full * whole;
    std::uint64_t left = last;
    std::vector<std::pair<std::uint64_t, std::size_t>> remainders;
    for (std::size_t c = 0; c < strata_.size(); ++c) {
      stratum& s = strata_[c];
      s.in_batch = whole * s.count / all;
      s.in_last = last * s.count / all;
      left -= s.in_last;
      remainders.emplace_back(all - last * s.count % all, c);
    }
    std::sort(remainders.begin(), remainders.end());
    for (std::uint64_t i = 0; i < left; ++i) ++strata_[remainders[i].second].in_last;
    for (stratum& s : strata_) s.extras = s.count - full * s.in_batch - s.in_last;
  }

  /// Chooses which classes have one more sample in this batch, when `batches` whole batches are left, this one
  /// included. Chooses a class with probability left / batches. These probabilities sum to the room in the batch, and
  /// exactly that many classes are chosen. A class whose `left` equals `batches` is sure to be chosen.
  /// Source: systematic sampling in random order, Goodman, Kish, "Controlled selection", 1950.
  template <class Take>
  static void take_extras(std::vector<entry>& extras, std::size_t batches, detail::draw_sequence& draws,
                          const Take& take) {
    if (extras.empty()) return;
    detail::shuffle(std::span(extras), draws);
    std::size_t mark = draws.below(batches);
    std::size_t sum = 0;
    for (entry& e : extras) {
      sum += e.left;
      if (mark >= sum) continue;
      mark += batches;
      take(e.stratum, 1);
      --e.left;
    }
    std::erase_if(extras, [](const entry& e) { return e.left == 0; });
  }

  std::int64_t samples_;
  std::int64_t batch_;
  seed seed_;
  std::vector<std::int64_t> members_;  // the samples, class by class
  std::vector<stratum> strata_;
};

static_assert(batched_sampler<stratified_sampler>);

}  // namespace lockstep::data
