// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/sampler_stratified.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"

namespace data = lockstep::data;

TEST_CASE("stratified_sampler: every sample is as likely in every place, of classes that batches do not divide too",
          "[data]") {
  struct example {
    std::vector<std::int64_t> sizes;  // of the classes
    std::int64_t batch;
  };
  // In each batch there is room for a sample of some classes only, which have different numbers to place.
  const auto& [sizes, batch] = GENERATE(values<example>({{{5, 1}, 2}, {{3, 4, 8}, 5}, {{1, 1, 2, 4}, 2}, {{7, 5}, 4}}));
  std::vector<std::int64_t> labels;
  for (std::size_t c = 0; c < sizes.size(); ++c)
    labels.insert(labels.end(), static_cast<std::size_t>(sizes[c]), static_cast<std::int64_t>(c));
  const std::size_t n = labels.size();
  CAPTURE(sizes, batch);
  REQUIRE(static_cast<std::int64_t>(n) % batch == 0);

  const data::stratified_sampler sampler{labels, {.batch = batch, .seed = {4}}};
  constexpr int epochs = 6'000;
  std::vector<std::vector<int>> at(n, std::vector<int>(n));
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto order = epoch_order(sampler, epoch);
    for (std::size_t place = 0; place < n; ++place) ++at[static_cast<std::size_t>(order[place])][place];
  }
  const double mean = epochs / static_cast<double>(n);
  const double deviation = std::sqrt(mean * (1 - 1 / static_cast<double>(n)));
  double worst = 0;
  for (const auto& places : at)
    for (const int times : places) worst = std::max(worst, std::abs(times - mean) / deviation);
  CHECK(worst < 5);  // one in two million, of 225 at most
}
