// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/backend/tree_sum.hpp>

/// \file
/// What layers that measure the whole batch have measured, in double precision. Channels of all such layers lie one
/// after the other.

namespace lockstep::detail {

/// Number, mean, and squared distances from the mean of some elements; the sum of two is that of all their elements
/// (Chan, Golub and LeVeque, "Updating formulae", 1979).
struct moments {
  double count = 0;
  double mean = 0;
  double squares = 0;

  friend moments operator+(const moments& a, const moments& b) {
    if (a.count == 0) return b;
    if (b.count == 0) return a;
    const double all = a.count + b.count;
    const double distance = b.mean - a.mean;
    return {all, a.mean + distance * (b.count / all),
            a.squares + b.squares + distance * distance * (a.count * b.count / all)};
  }
};

/// What one leaf of the sum over a batch has measured: one entry for each channel.
struct leaf_statistics {
  std::vector<moments> forward;
  std::vector<double> sums;      ///< of the gradients of outputs
  std::vector<double> products;  ///< of these gradients and the normalised inputs
  // A micro-shard's own results.
  std::vector<double> first;
  std::vector<double> second;

  explicit leaf_statistics(std::int64_t channels) {
    const auto n = static_cast<std::size_t>(channels);
    forward.resize(n);
    for (auto* each : {&sums, &products, &first, &second}) each->resize(n);
  }

  /// Before a pass.
  void clear() {
    std::fill(forward.begin(), forward.end(), moments{});
    std::fill(sums.begin(), sums.end(), 0.0);
    std::fill(products.begin(), products.end(), 0.0);
  }
  /// Adds what `first` (means) and `second` (squares) hold for the channels from `at` on.
  void add_moments(std::int64_t at, std::int64_t channels, double count) {
    for (auto c = static_cast<std::size_t>(at); c < static_cast<std::size_t>(at + channels); ++c)
      forward[c] = forward[c] + moments{count, first[c], second[c]};
  }
  /// Adds what `first` (sums) and `second` (products) hold.
  void add_sums(std::int64_t at, std::int64_t channels) {
    for (auto c = static_cast<std::size_t>(at); c < static_cast<std::size_t>(at + channels); ++c) {
      sums[c] += first[c];
      products[c] += second[c];
    }
  }
};

/// The statistics of some channels, as a layer reads them.
template <class Value>
struct channel_statistics {
  const Value* mean;
  const double* rest;
  const Value* inverse;
};

/// What a replica normalises with: the statistics of all leaves.
template <class Value>
struct batch_statistics {
  std::vector<moments> forward;
  std::vector<Value> mean;
  std::vector<double> rest;    ///< what rounding has taken from the mean: much, where it is large beside the deviation
  std::vector<Value> inverse;  ///< 1 / the standard deviation
  std::vector<double> sums;
  std::vector<double> products;

  explicit batch_statistics(std::int64_t channels) {
    const auto n = static_cast<std::size_t>(channels);
    forward.resize(n);
    mean.resize(n);
    rest.resize(n);
    inverse.resize(n);
    sums.resize(n);
    products.resize(n);
  }

  /// Those of the channels from `at` on.
  [[nodiscard]] channel_statistics<Value> of(std::int64_t at) const {
    return {mean.data() + at, rest.data() + at, inverse.data() + at};
  }

  /// Combines the moments of `Leaves` leaves, in the order of `leaf(k)`, for the channels from `at` on.
  template <std::size_t Leaves, class Leaf>
  void combine_moments(std::int64_t at, std::int64_t channels, double epsilon, const Leaf& leaf) {
    for (auto c = static_cast<std::size_t>(at); c < static_cast<std::size_t>(at + channels); ++c) {
      forward[c] = tree_sum<0, Leaves>([&](std::size_t k) { return leaf(k).forward[c]; });
      const double variance = forward[c].count > 0 ? forward[c].squares / forward[c].count : 0.0;
      mean[c] = static_cast<Value>(forward[c].mean);
      rest[c] = forward[c].mean - static_cast<double>(mean[c]);
      inverse[c] = static_cast<Value>(1 / std::sqrt(variance + epsilon));
    }
  }
  /// The same for the sums of backward.
  template <std::size_t Leaves, class Leaf>
  void combine_sums(std::int64_t at, std::int64_t channels, const Leaf& leaf) {
    for (auto c = static_cast<std::size_t>(at); c < static_cast<std::size_t>(at + channels); ++c) {
      sums[c] = tree_sum<0, Leaves>([&](std::size_t k) { return leaf(k).sums[c]; });
      products[c] = tree_sum<0, Leaves>([&](std::size_t k) { return leaf(k).products[c]; });
    }
  }
};

}  // namespace lockstep::detail
