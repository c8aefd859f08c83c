// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/shuffle.hpp>
#include <lockstep/data/table.hpp>

namespace lockstep::data {

struct random_split_options {
  double validation = 0.2;  ///< share of the samples, in [0, 1]; rounded to the nearest number of samples
  lockstep::seed seed{};
};

/// Splits a data set into a part to train on and a part to validate on:
/// `auto [train, validation] = random_split(all);`. Every sample goes to one part, and both parts keep the samples'
/// order. The choice is a function of the seed, the number of samples and the share alone, the same on every machine.
/// Copies all samples.
/// Throws value_error for a share outside [0, 1], or for 2^32 samples or more.
template <class... Fields>
[[nodiscard]] split<Fields...> random_split(const dataset<Fields...>& all, const random_split_options& options = {}) {
  if (!(options.validation >= 0 && options.validation <= 1))
    throw value_error("random_split", "a share from 0 to 1 for validation", std::to_string(options.validation));
  std::vector<std::int64_t> order(static_cast<std::size_t>(all.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (!order.empty()) static_cast<void>(detail::checked_samples("random_split", all.size()));
  detail::draw_sequence draws(options.seed, 0, detail::sampler_stream::split);
  detail::shuffle(std::span(order), draws);
  const auto validation = static_cast<std::ptrdiff_t>(static_cast<double>(all.size()) * options.validation + 0.5);
  const auto middle = order.begin() + validation;
  std::sort(order.begin(), middle);
  std::sort(middle, order.end());
  return {all.select(std::span<const std::int64_t>(middle, order.end())),
          all.select(std::span<const std::int64_t>(order.begin(), middle))};
}

}  // namespace lockstep::data
