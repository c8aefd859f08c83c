// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/sampler_distributed.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/data/sampler_basic.hpp>
#include <lockstep/data/sampler_stratified.hpp>
#include <lockstep/data/sampler_weighted.hpp>

#include "support/catch.hpp"

namespace {

namespace data = lockstep::data;
using list = std::vector<std::int64_t>;

static_assert(data::ranked_sampler<data::distributed_sampler<data::random_sampler>>);
static_assert(data::ranked_sampler<data::distributed_sampler<data::stratified_sampler>>);

template <class Inner>
concept can_distribute = requires(Inner inner) { data::distributed_sampler<Inner>(inner, {}); };
static_assert(can_distribute<data::sequential_sampler>);
static_assert(!can_distribute<data::distributed_sampler<data::sequential_sampler>>);

// The ranks of each world together see what one rank sees, batch by batch, in order.
template <data::sampler Base>
void check_cover(const Base& base, std::int64_t batch) {
  for (int world = 1; world <= 5; ++world) {
    std::vector<data::distributed_sampler<Base>> ranks;
    ranks.reserve(static_cast<std::size_t>(world));
    for (int rank = 0; rank < world; ++rank)
      ranks.emplace_back(base, data::distributed_sampler_options{.batch = batch, .rank = rank, .world_size = world});

    std::int64_t total = 0;
    std::int64_t fewest = std::numeric_limits<std::int64_t>::max();
    std::int64_t most = 0;
    for (const auto& r : ranks) {
      REQUIRE(r.samples() == base.samples());
      REQUIRE(r.global_size() == base.size());
      REQUIRE(r.batch() == batch);
      REQUIRE(r.steps() == (base.size() + batch - 1) / batch);
      total += r.size();
      fewest = std::min(fewest, r.size());
      most = std::max(most, r.size());
    }
    REQUIRE(total == base.size());
    REQUIRE(most - fewest <= 1);

    const std::uint64_t epoch = 2;
    const list expected = epoch_order(base, epoch);
    std::vector<list> orders;
    orders.reserve(ranks.size());
    std::vector<std::int64_t> next(static_cast<std::size_t>(world));
    for (const auto& r : ranks) orders.push_back(epoch_order(r, epoch));
    list joined;
    for (std::int64_t step = 0; step < ranks[0].steps(); ++step) {
      fewest = batch;
      most = 0;
      for (std::size_t r = 0; r < ranks.size(); ++r) {
        const data::batch_part part = ranks[r].part(step);
        REQUIRE(part.first_index == static_cast<std::int64_t>(joined.size()));
        REQUIRE(part.first == next[r]);
        REQUIRE(part.size >= 0);
        REQUIRE(part.size <= ranks[r].local_batch());
        const auto begin = orders[r].begin() + part.first;
        joined.insert(joined.end(), begin, begin + part.size);
        next[r] += part.size;
        fewest = std::min(fewest, part.size);
        most = std::max(most, part.size);
      }
      REQUIRE(most - fewest <= 1);
      REQUIRE(static_cast<std::int64_t>(joined.size()) == std::min((step + 1) * batch, base.size()));
    }
    REQUIRE(joined == expected);
    for (std::size_t r = 0; r < ranks.size(); ++r) REQUIRE(next[r] == ranks[r].size());
  }
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

}  // namespace

TEST_CASE("distributed_sampler: the ranks together see the batches of one rank", "[data]") {
  const std::int64_t size = GENERATE(1, 2, 3, 5, 12, 37, 60, 101);
  const std::int64_t batch = GENERATE(1, 2, 3, 4, 7, 10, 60, 1'000);
  check_cover(data::sequential_sampler{size}, batch);
  check_cover(data::random_sampler{size, {.seed = {3}}}, batch);
  check_cover(data::random_sampler{size, {.draws = 2 * size + 1, .replacement = true}}, batch);
  check_cover(data::subset_sampler{list(static_cast<std::size_t>(size), 4), 9}, batch);
  const std::vector<double> weights(static_cast<std::size_t>(size), 2.0);
  check_cover(data::weighted_sampler{weights}, batch);
  check_cover(data::weighted_sampler{weights, {.replacement = false}}, batch);
  list labels;
  for (std::int64_t i = 0; i < size; ++i) labels.push_back(i % 3);
  check_cover(data::stratified_sampler{labels, {.batch = batch}}, batch);
}

TEST_CASE("distributed_sampler: samples that do not divide are dealt round robin", "[data]") {
  // Batches of 5 over 3 ranks: 2 2 1, then 2 1 2, then 1 2 2; two samples are left for the last: ranks 0 and 1.
  const std::vector<std::vector<std::int64_t>> sizes{{2, 2, 1, 1}, {2, 1, 2, 1}, {1, 2, 2, 0}};
  for (int rank = 0; rank < 3; ++rank) {
    const data::distributed_sampler s{data::sequential_sampler{17}, {.batch = 5, .rank = rank, .world_size = 3}};
    for (std::int64_t step = 0; step < s.steps(); ++step)
      CHECK(s.part(step).size == sizes[static_cast<std::size_t>(rank)][static_cast<std::size_t>(step)]);
  }
  const data::distributed_sampler last{data::sequential_sampler{17}, {.batch = 5, .rank = 2, .world_size = 3}};
  CHECK(epoch_order(last, 0) == list{4, 8, 9, 13, 14});
  CHECK(last.part(3) == data::batch_part{5, 17, 0});
}

TEST_CASE("distributed_sampler: a rank without any sample still has every step", "[data]") {
  const data::distributed_sampler s{data::sequential_sampler{2}, {.batch = 8, .rank = 3, .world_size = 4}};
  CHECK(s.size() == 0);
  CHECK(s.steps() == 1);
  CHECK(s.part(0).size == 0);
  CHECK(epoch_order(s, 0).empty());
}

TEST_CASE("distributed_sampler: refuses ranks and batches that do not fit", "[data]") {
  using lockstep::value_error;
  const data::sequential_sampler base{10};
  const auto make = [&](const data::distributed_sampler_options& options) {
    return data::distributed_sampler{base, options};
  };
  CHECK_THROWS_AS(make({.batch = 0}), value_error);
  CHECK_THROWS_AS(make({.world_size = 0}), value_error);
  CHECK_THROWS_AS(make({.rank = -1, .world_size = 2}), value_error);
  CHECK_THROWS_AS(make({.rank = 2, .world_size = 2}), value_error);
  CHECK(message_of([&] { return make({.rank = 4, .world_size = 4}); }) ==
        "lockstep: distributed_sampler: expected a rank from 0 to 3, got 4");
  CHECK(message_of([] {
          return data::distributed_sampler{data::stratified_sampler{list{0, 1}, {.batch = 8}}, {.batch = 16}};
        }) ==
        "lockstep: distributed_sampler: expected .batch = 8, which its base is made for, got 16; give both the batch "
        "of all ranks together");
  list room(4);
  CHECK_THROWS_AS(make({.rank = 0, .world_size = 2}).draw(0, room), value_error);
}
