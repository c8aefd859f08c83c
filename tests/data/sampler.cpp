// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/sampler.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/data/shuffle.hpp>

#include "support/catch.hpp"

namespace {

namespace data = lockstep::data;
using list = std::vector<std::int64_t>;

list count_up(std::int64_t size) {
  list values(static_cast<std::size_t>(size));
  std::iota(values.begin(), values.end(), std::int64_t{0});
  return values;
}

list sorted(list values) {
  std::sort(values.begin(), values.end());
  return values;
}

// Of counts against probabilities; one that must not occur makes it infinite.
double chi_squared(const std::vector<double>& probabilities, const std::vector<std::int64_t>& counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * total;
    const double off = static_cast<double>(counts[i]) - expected;
    if (expected > 0)
      sum += off * off / expected;
    else if (counts[i] != 0)
      return std::numeric_limits<double>::infinity();
  }
  return sum;
}

std::vector<std::int64_t> frequencies(const list& order, std::size_t samples) {
  std::vector<std::int64_t> counts(samples);
  for (const std::int64_t index : order) ++counts[static_cast<std::size_t>(index)];
  return counts;
}

// `make` builds a sampler from a seed.
template <class Make>
void check_epochs(const Make& make) {
  const data::sampler auto one = make(lockstep::seed{1});
  std::set<list> orders;
  for (std::uint64_t epoch = 0; epoch < 5; ++epoch) {
    const list order = epoch_order(one, epoch);
    CHECK(order == epoch_order(make(lockstep::seed{1}), epoch));
    CHECK(order != epoch_order(make(lockstep::seed{2}), epoch));
    orders.insert(order);
  }
  CHECK(orders.size() == 5);
  CHECK(orders.count(epoch_order(one, 3)) == 1);
}

template <class Make>
std::string message_of(const Make& make) {
  try {
    (void)make();
  } catch (const lockstep::value_error& e) {
    return e.what();
  }
  return "nothing thrown";
}

struct no_draw {
  [[nodiscard]] static std::int64_t samples() { return 1; }
  [[nodiscard]] static std::int64_t size() { return 1; }
};
struct narrow_size {
  [[nodiscard]] static std::int64_t samples() { return 1; }
  [[nodiscard]] static int size() { return 1; }
  void draw(std::uint64_t, std::span<std::int64_t>) const {}
};
struct mutable_draw {
  [[nodiscard]] static std::int64_t samples() { return 1; }
  [[nodiscard]] static std::int64_t size() { return 1; }
  void draw(std::uint64_t, std::span<std::int64_t>) {}
};
struct minimal {
  [[nodiscard]] static std::int64_t samples() { return 1; }
  [[nodiscard]] static std::int64_t size() { return 1; }
  void draw(std::uint64_t, std::span<std::int64_t>) const {}
};

static_assert(data::sampler<minimal> && !data::batched_sampler<minimal>);
static_assert(!data::sampler<no_draw> && !data::sampler<narrow_size> && !data::sampler<mutable_draw>);
static_assert(data::batched_sampler<data::stratified_sampler> && !data::ranked_sampler<data::stratified_sampler>);

}  // namespace

TEST_CASE("sequential_sampler: keeps the data set's order", "[data]") {
  const data::sequential_sampler s{7};
  CHECK(s.samples() == 7);
  CHECK(s.size() == 7);
  CHECK(epoch_order(s, 0) == count_up(7));
  CHECK(epoch_order(s, 9) == count_up(7));
}

TEST_CASE("random_sampler: an epoch is the order of the loader's shuffle", "[data]") {
  const data::random_sampler s{50, {.seed = {3}}};
  const data::random_sampler some{50, {.draws = 20, .seed = {3}}};
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    list expected(50);
    data::shuffled_order(expected, lockstep::seed{3}, epoch);
    CHECK(epoch_order(s, epoch) == expected);
    CHECK(sorted(epoch_order(s, epoch)) == count_up(50));
    expected.resize(20);
    CHECK(epoch_order(some, epoch) == expected);
  }
}

TEST_CASE("random_sampler: with replacement all samples are equally likely", "[data]") {
  const data::random_sampler s{20, {.draws = 20'000, .replacement = true, .seed = {5}}};
  REQUIRE(s.size() == 20'000);
  const list order = epoch_order(s, 0);
  CHECK(chi_squared(std::vector<double>(20, 1.0 / 20), frequencies(order, 20)) < 43.8);  // 0.1 % of 19
  // So are pairs of draws that follow each other.
  std::vector<std::int64_t> pairs(25);
  for (std::size_t i = 0; i + 1 < order.size(); i += 2)
    ++pairs[static_cast<std::size_t>(order[i] / 4 * 5 + order[i + 1] / 4)];
  CHECK(chi_squared(std::vector<double>(25, 1.0 / 25), pairs) < 51.2);  // 0.1 % of 24
}

TEST_CASE("samplers: an epoch is a function of seed and epoch", "[data]") {
  using lockstep::seed;
  check_epochs([](seed s) { return data::random_sampler{40, {.seed = s}}; });
  check_epochs([](seed s) { return data::random_sampler{40, {.replacement = true, .seed = s}}; });
  check_epochs([](seed s) { return data::subset_sampler{count_up(30), 40, {.shuffle = true, .seed = s}}; });
  const std::vector<double> weights(40, 0.5);
  check_epochs([&](seed s) { return data::weighted_sampler{weights, {.seed = s}}; });
  check_epochs([&](seed s) { return data::weighted_sampler{weights, {.replacement = false, .seed = s}}; });
  list labels = count_up(40);
  for (std::int64_t& label : labels) label %= 3;
  check_epochs([&](seed s) { return data::stratified_sampler{labels, {.batch = 7, .seed = s}}; });
  check_epochs([&](seed s) {
    return data::distributed_sampler{data::random_sampler{80, {.seed = s}}, {.batch = 8, .rank = 1, .world_size = 2}};
  });
}

TEST_CASE("samplers: draws are those of an independent implementation", "[data]") {
  // Computed in Python from the definitions: Philox, von Neumann's exponential variates, the alias method on a table
  // made by hand.
  const data::random_sampler replacement{1000, {.draws = 8, .replacement = true, .seed = {7}}};
  CHECK(epoch_order(replacement, 3) == list{636, 8, 339, 32, 766, 70, 483, 772});
  const data::random_sampler largest{0xFFFFFFFF, {.draws = 4, .replacement = true, .seed = {7}}};
  CHECK(epoch_order(largest, 3) == list{2733453033, 37584267, 1459846831, 140328995});
  const data::weighted_sampler race{{5, 1, 0, 2.5, 0.125, 3, 8, 0.75}, {.replacement = false, .seed = {7}}};
  CHECK(epoch_order(race, 3) == list{7, 5, 6, 0, 3, 1, 4});
  const data::weighted_sampler alias{{1, 7}, {.draws = 24, .seed = {7}}};
  CHECK(epoch_order(alias, 3) == list{1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1});
}

TEST_CASE("subset_sampler: visits the given indices", "[data]") {
  const list indices{4, 9, 0, 4};
  const data::subset_sampler plain{indices, 10};
  CHECK(plain.samples() == 10);
  CHECK(plain.size() == 4);
  CHECK(epoch_order(plain, 0) == indices);
  CHECK(epoch_order(plain, 1) == indices);
  const data::subset_sampler shuffled{indices, 10, {.shuffle = true}};
  std::map<list, int> orders;
  for (std::uint64_t epoch = 0; epoch < 1200; ++epoch) {
    const list order = epoch_order(shuffled, epoch);
    REQUIRE(sorted(order) == list{0, 4, 4, 9});
    ++orders[order];
  }
  REQUIRE(orders.size() == 12);
  std::vector<std::int64_t> counts;
  counts.reserve(orders.size());
  for (const auto& [order, times] : orders) counts.push_back(times);
  CHECK(chi_squared(std::vector<double>(12, 1.0 / 12), counts) < 31.3);  // 0.1 % of 11
}

TEST_CASE("weighted_sampler: with replacement, samples come in proportion to their weights", "[data]") {
  const std::vector<double> weights{1, 0, 2.5, 0.01, 7, 3, 0, 0.3, 1, 1};
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<double> probabilities;
  probabilities.reserve(weights.size());
  for (const double w : weights) probabilities.push_back(w / total);
  const data::weighted_sampler s{weights, {.draws = 100'000, .seed = {2}}};
  CHECK(s.samples() == 10);
  CHECK(s.size() == 100'000);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch)
    CHECK(chi_squared(probabilities, frequencies(epoch_order(s, epoch), 10)) < 24.4);  // 0.1 % of 7

  SECTION("the scale of the weights does not matter") {
    for (const double scale : {0x1p-1000, 0x1p+1020}) {
      std::vector<double> scaled = weights;
      for (double& w : scaled) w *= scale;
      CHECK(epoch_order(data::weighted_sampler{scaled, {.draws = 1000, .seed = {2}}}, 0) ==
            epoch_order(data::weighted_sampler{weights, {.draws = 1000, .seed = {2}}}, 0));
    }
  }
  SECTION("as many draws as samples, when no number is given") {
    CHECK(data::weighted_sampler{weights}.size() == 10);
    CHECK(data::weighted_sampler{weights, {.replacement = false}}.size() == 8);
  }
}

TEST_CASE("weighted_sampler: a sample of weight zero never comes, however the others lie", "[data]") {
  const bool replacement = GENERATE(true, false);
  for (const std::size_t samples : {2U, 3U, 7U, 49U, 1000U}) {
    std::vector<double> weights(samples);
    for (std::size_t i = 0; i < samples; i += 1 + i % 3) weights[i] = 0.1 * static_cast<double>(i % 7 + 1);
    const std::int64_t positive = std::count_if(weights.begin(), weights.end(), [](double w) { return w > 0; });
    const data::weighted_sampler s{weights, {.draws = replacement ? 20'000 : positive, .replacement = replacement}};
    const list order = epoch_order(s, 0);
    CHECK(std::all_of(order.begin(), order.end(), [&](std::int64_t i) { return weights[std::size_t(i)] > 0; }));
    const std::set<std::int64_t> seen(order.begin(), order.end());
    CHECK(static_cast<std::int64_t>(seen.size()) == positive);
  }
}

TEST_CASE("weighted_sampler: weights far apart keep their meaning", "[data]") {
  const data::weighted_sampler with{{1e-300, 1e300, 5e-324}, {.draws = 1000}};
  CHECK(epoch_order(with, 0) == list(1000, 1));
  const data::weighted_sampler without{{1e-150, 1e300, 5e-324, 1.0}, {.replacement = false}};
  CHECK(epoch_order(without, 0) == list{1, 3, 0, 2});
  const data::weighted_sampler tiny{{5e-324, 0, 0}, {.draws = 100}};
  CHECK(epoch_order(tiny, 0) == list(100, 0));
}

TEST_CASE("weighted_sampler: without replacement, each draw is by weight among those left", "[data]") {
  const std::vector<double> weights{1, 4, 0, 2, 0.5};
  constexpr int epochs = 20'000;
  const data::weighted_sampler s{weights, {.draws = 2, .replacement = false, .seed = {4}}};
  std::vector<double> probabilities(25);
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < 5; ++j)
      if (i != j) probabilities[i * 5 + j] = weights[i] / 7.5 * weights[j] / (7.5 - weights[i]);
  std::vector<std::int64_t> counts(25);
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
    const list order = epoch_order(s, epoch);
    REQUIRE(order.size() == 2);
    ++counts[static_cast<std::size_t>(order[0] * 5 + order[1])];
  }
  CHECK(chi_squared(probabilities, counts) < 31.3);  // 0.1 % of 11

  const data::weighted_sampler all{weights, {.replacement = false, .seed = {4}}};
  CHECK(sorted(epoch_order(all, 0)) == list{0, 1, 3, 4});
  // The first draws are the same, however many follow.
  for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
    list order = epoch_order(all, epoch);
    order.resize(2);
    CHECK(order == epoch_order(s, epoch));
  }
}

TEST_CASE("exponential: has the distribution exp(-x)", "[data]") {
  data::detail::draw_sequence draws(lockstep::seed{1}, 0, data::detail::sampler_stream::race);
  constexpr int bins = 20;
  std::vector<std::int64_t> counts(bins);
  for (int i = 0; i < 40'000; ++i) {
    const double below = -std::expm1(-data::detail::exponential(draws));  // uniform in [0, 1)
    ++counts[static_cast<std::size_t>(std::min(below * bins, bins - 1.0))];
  }
  CHECK(chi_squared(std::vector<double>(bins, 1.0 / bins), counts) < 43.8);  // 0.1 % of 19
}

TEST_CASE("samplers: refuse what they cannot draw from", "[data]") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  using lockstep::value_error;
  CHECK_THROWS_AS(data::sequential_sampler(0), value_error);
  CHECK_THROWS_AS(data::sequential_sampler(-1), value_error);
  CHECK_THROWS_AS(data::random_sampler(0), value_error);
  CHECK_THROWS_AS(data::random_sampler(std::int64_t{1} << 32), value_error);
  CHECK_NOTHROW(data::random_sampler((std::int64_t{1} << 32) - 1));
  CHECK_THROWS_AS(data::random_sampler(5, {.draws = -1}), value_error);
  CHECK_THROWS_AS(data::random_sampler(5, {.draws = 6}), value_error);
  CHECK_NOTHROW(data::random_sampler(5, {.draws = 6, .replacement = true}));
  CHECK_THROWS_AS(data::subset_sampler({}, 5), value_error);
  CHECK_THROWS_AS(data::subset_sampler({0}, 0), value_error);
  CHECK_THROWS_AS(data::subset_sampler({0, -1}, 5), value_error);
  CHECK_THROWS_AS(data::weighted_sampler(std::vector<double>{}), value_error);
  CHECK_THROWS_AS(data::weighted_sampler({0, 0}), value_error);
  CHECK_THROWS_AS(data::weighted_sampler({1, -1e-300}), value_error);
  CHECK_THROWS_AS(data::weighted_sampler({1, infinity}), value_error);
  CHECK_THROWS_AS(data::weighted_sampler({1, 2}, {.draws = -1}), value_error);
  CHECK_THROWS_AS(data::weighted_sampler({1, 0}, {.draws = 2, .replacement = false}), value_error);
  CHECK_THROWS_AS(data::stratified_sampler(list{}), value_error);
  CHECK_THROWS_AS(data::stratified_sampler(list{1}, {.batch = 0}), value_error);

  CHECK(message_of([] {
          return data::subset_sampler({1, 5}, 5);
        }) == "lockstep: subset_sampler: expected indices from 0 to 4, got 5 at place 1");
  CHECK(message_of([&] {
          return data::weighted_sampler({1, nan});
        }) == "lockstep: weighted_sampler: expected finite weights of zero or more, got nan for sample 1");
  CHECK(message_of([] {
          return data::weighted_sampler({0, 0, 0});
        }) == "lockstep: weighted_sampler: expected a weight above zero, got 3 weights, all zero");
  CHECK(message_of([] { return data::random_sampler(5, {.draws = 9}); }) ==
        "lockstep: random_sampler: expected at most 5 draws without replacement, one a sample to draw, got 9; set "
        ".replacement or ask for fewer");

  list room(4);
  CHECK_THROWS_AS(data::sequential_sampler(5).draw(0, room), value_error);
  CHECK_THROWS_AS(data::random_sampler(5).draw(0, room), value_error);
  CHECK_THROWS_AS(data::subset_sampler({1, 2, 3}, 5).draw(0, room), value_error);
  CHECK_THROWS_AS(data::weighted_sampler({1, 2, 3}).draw(0, room), value_error);
  CHECK_THROWS_AS(data::stratified_sampler(list{1, 2, 3}).draw(0, room), value_error);
}
