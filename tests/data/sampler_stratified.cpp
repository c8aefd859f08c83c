// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/sampler_stratified.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <lockstep/core/random.hpp>

#include "support/catch.hpp"

namespace {

namespace data = lockstep::data;
using list = std::vector<std::int64_t>;

// Labels of classes whose sizes are drawn from 1 .. largest, in no order.
list mixed_labels(std::int64_t classes, std::uint32_t largest, std::uint64_t seed) {
  const lockstep::random_stream draws(lockstep::seed{seed}, lockstep::random_purpose::synthetic_data);
  std::vector<std::pair<std::uint32_t, std::int64_t>> keyed;
  std::uint64_t draw = 0;
  for (std::int64_t c = 0; c < classes; ++c)
    for (std::uint32_t left = 1 + draws.below(largest, draw++); left > 0; --left)
      keyed.emplace_back(draws.bits(draw++), c);
  std::sort(keyed.begin(), keyed.end());
  list labels;
  for (const auto& [key, label] : keyed) labels.push_back(label);
  return labels;
}

std::map<std::int64_t, std::int64_t> count_by_class(const list& labels) {
  std::map<std::int64_t, std::int64_t> counts;
  for (const std::int64_t label : labels) ++counts[label];
  return counts;
}

std::vector<list> label_batches(const list& labels, const data::stratified_sampler& s, std::uint64_t epoch) {
  std::vector<list> batches;
  const list order = epoch_order(s, epoch);
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i % static_cast<std::size_t>(s.batch()) == 0) batches.emplace_back();
    batches.back().push_back(labels[static_cast<std::size_t>(order[i])]);
  }
  return batches;
}

}  // namespace

TEST_CASE("stratified_sampler: every batch has the proportions, every sample comes once", "[data]") {
  const auto [classes, largest, batch] =
      GENERATE(table<std::int64_t, std::uint32_t, std::int64_t>({{1, 50, 7},
                                                                 {2, 90, 16},
                                                                 {3, 40, 1},
                                                                 {10, 60, 32},
                                                                 {10, 60, 64},
                                                                 {25, 9, 8},
                                                                 {100, 3, 10},
                                                                 {7, 30, 1'000},
                                                                 {4, 20, std::numeric_limits<std::int64_t>::max()}}));
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const list labels = mixed_labels(classes, largest, seed);
    const auto size = static_cast<std::int64_t>(labels.size());
    const auto in_set = count_by_class(labels);
    const data::stratified_sampler s{labels, {.batch = batch, .seed = {seed}}};
    REQUIRE(s.size() == size);
    REQUIRE(s.batch() == batch);
    for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
      list order = epoch_order(s, epoch);
      std::int64_t wrong = 0;
      for (const list& labels_in : label_batches(labels, s, epoch)) {
        const auto in_batch = count_by_class(labels_in);
        for (const auto& [label, count] : in_set) {
          // Within one of count * batch / size, without rounding.
          const auto found = in_batch.find(label);
          const std::int64_t times = found == in_batch.end() ? 0 : found->second;
          const std::int64_t off = times * size - count * static_cast<std::int64_t>(labels_in.size());
          wrong += off <= -size || off >= size ? 1 : 0;
        }
      }
      CHECK(wrong == 0);
      std::sort(order.begin(), order.end());
      std::int64_t next = 0;
      CHECK(std::all_of(order.begin(), order.end(), [&](std::int64_t index) { return index == next++; }));
    }
  }
}

TEST_CASE("stratified_sampler: proportions that divide are met exactly", "[data]") {
  list labels;  // 60 % and 40 %; labels are any numbers
  for (int i = 0; i < 100; ++i) labels.push_back(i % 5 < 3 ? -7 : 1'000'000'007);
  const data::stratified_sampler s{labels, {.batch = 20}};
  for (const list& batch : label_batches(labels, s, 4)) CHECK(std::count(batch.begin(), batch.end(), -7) == 12);
}

TEST_CASE("stratified_sampler: the last batch is nearest to the proportions", "[data]") {
  list labels(13, 0);  // 13, 6 and 4 of 23; 3 in the last batch: 1.70, 0.78, 0.52
  labels.insert(labels.end(), 6, 1);
  labels.insert(labels.end(), 4, 2);
  const data::stratified_sampler s{labels, {.batch = 10}};
  for (std::uint64_t epoch = 0; epoch < 5; ++epoch) {
    const auto batches = label_batches(labels, s, epoch);
    REQUIRE(batches.size() == 3);
    CHECK(count_by_class(batches[2]) == std::map<std::int64_t, std::int64_t>{{0, 2}, {1, 1}});
  }
}

TEST_CASE("stratified_sampler: samples and places are random", "[data]") {
  list labels;
  for (int i = 0; i < 12; ++i) labels.push_back(i < 8 ? 0 : 1);
  const data::stratified_sampler s{labels, {.batch = 3, .seed = {6}}};
  constexpr int epochs = 6'000;
  std::vector<std::vector<int>> at(12, std::vector<int>(12));
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
    const list order = epoch_order(s, epoch);
    for (std::size_t place = 0; place < 12; ++place) ++at[static_cast<std::size_t>(order[place])][place];
  }
  for (const auto& places : at) {
    double chi_squared = 0;
    for (const int times : places) chi_squared += (times - epochs / 12.0) * (times - epochs / 12.0) / (epochs / 12.0);
    CHECK(chi_squared < 37.4);  // 0.01 % of 11, for 12 of them
  }
}

TEST_CASE("stratified_sampler: any classes meet in a batch that cannot hold all", "[data]") {
  list labels;
  for (int i = 0; i < 5'000; ++i) labels.push_back(i % 100);
  const data::stratified_sampler s{labels, {.batch = 10}};
  std::set<std::pair<std::int64_t, std::int64_t>> met;
  for (const list& batch : label_batches(labels, s, 0)) {
    CHECK(count_by_class(batch).size() == 10);
    for (const std::int64_t a : batch)
      for (const std::int64_t b : batch)
        if (a < b) met.emplace(a, b);
  }
  CHECK(met.size() > 4'800);  // of 4950: a pair is left out with a probability of about exp(-22500 / 4950)
}
