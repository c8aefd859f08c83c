// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/random_split.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using table = data::dataset<data::field<float>, data::field<std::int64_t>>;
using list = std::vector<std::int64_t>;

/// The label of a sample is its index.
table numbered(std::int64_t samples) {
  std::vector<float> values(static_cast<std::size_t>(samples));
  list labels;
  for (std::int64_t i = 0; i < samples; ++i) labels.push_back(i);
  return table(values, labels);
}

list labels(const table& part) { return {part.values<1>().begin(), part.values<1>().end()}; }

}  // namespace

TEST_CASE("random_split: every sample falls to one part, in order", "[data]") {
  const std::int64_t samples = GENERATE(0, 1, 2, 10, 99, 1000);
  const double share = GENERATE(0.0, 0.1, 0.25, 0.5, 1.0);
  const auto [train, validation] = data::random_split(numbered(samples), {.validation = share, .seed = {9}});
  const auto train_labels = labels(train);
  const auto validation_labels = labels(validation);
  CHECK(std::is_sorted(train_labels.begin(), train_labels.end()));
  CHECK(std::is_sorted(validation_labels.begin(), validation_labels.end()));
  list all;
  std::merge(train_labels.begin(), train_labels.end(), validation_labels.begin(), validation_labels.end(),
             std::back_inserter(all));
  CHECK(all == labels(numbered(samples)));
  CHECK(std::abs(static_cast<double>(validation.size()) - share * static_cast<double>(samples)) <= 0.5);
}

TEST_CASE("random_split: the same on every machine", "[data]") {
  // From an implementation in Python of Philox, of the draws and of Fisher and Yates' method.
  const auto of = [](std::uint64_t seed) {
    return labels(data::random_split(numbered(20), {.validation = 0.25, .seed = {seed}}).test);
  };
  CHECK(of(0) == list{4, 7, 9, 15, 19});
  CHECK(of(1) == list{7, 10, 12, 15, 17});
}

TEST_CASE("random_split: every sample is as likely as any other", "[data]") {
  std::map<std::int64_t, int> times;
  for (std::uint64_t seed = 0; seed < 4000; ++seed)
    for (const std::int64_t i : labels(data::random_split(numbered(8), {.validation = 0.25, .seed = {seed}}).test))
      ++times[i];
  REQUIRE(times.size() == 8);
  // Binomial of 4000 draws with probability 1/4: deviation 27.
  for (const auto& [sample, count] : times) CHECK(std::abs(count - 1000) < 5 * 28);
}

TEST_CASE("random_split: splits pictures too", "[data]") {
  const data::dataset<ls::shape<1>> pictures({10, 11, 12, 13}, {0, 1, 2, 3}, 4, {"a", "b", "c", "d"});
  const auto [train, validation] = data::random_split(pictures, {.validation = 0.5});
  CHECK(train.size() == 2);
  CHECK(validation.class_names().size() == 4);
  for (std::int64_t i = 0; i < 2; ++i) CHECK(validation.image(i)(0) == 10 + validation.label(i));
}

TEST_CASE("random_split: refuses a share that is none", "[data]") {
  const table all = numbered(4);
  for (const double share : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(data::random_split(all, {.validation = share}), ls::value_error);
}
