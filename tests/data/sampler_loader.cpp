// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/loader.hpp>
#include <lockstep/data/sampler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace data = lockstep::data;
using data::loader;
using list = std::vector<std::int64_t>;
using tiny = lockstep::shape<2>;
using tiny_set = data::dataset<tiny>;

// The label of a sample is its index; its values are (index, 7 * index) modulo 256.
tiny_set numbered(std::int64_t samples) {
  std::vector<std::uint8_t> pixels;
  list labels;
  for (std::int64_t i = 0; i < samples; ++i) {
    labels.push_back(i);
    pixels.push_back(static_cast<std::uint8_t>(i));
    pixels.push_back(static_cast<std::uint8_t>(7 * i));
  }
  return {std::move(pixels), std::move(labels), std::max<std::int64_t>(samples, 1)};
}

// The labels of an epoch, batch by batch; checks that the pictures are those of the labels.
std::vector<list> batches_of(loader<tiny>& from) {
  std::vector<list> batches;
  for (const auto& batch : from) {
    REQUIRE(batch.images.extent(0) == batch.size());
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      const std::int64_t label = batch.labels[static_cast<std::size_t>(i)];
      REQUIRE(batch.images(i, 0) == static_cast<float>(label % 256) / 255.0F);
      REQUIRE(batch.images(i, 1) == static_cast<float>(7 * label % 256) / 255.0F);
    }
    batches.emplace_back(batch.labels.begin(), batch.labels.end());
  }
  return batches;
}

list joined(const std::vector<list>& batches) {
  list all;
  for (const list& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
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

// Yields an index that no sample has.
struct broken_sampler {
  [[nodiscard]] static std::int64_t samples() { return 10; }
  [[nodiscard]] static std::int64_t size() { return 3; }
  static void draw(std::uint64_t epoch, std::span<std::int64_t> order) {
    std::fill(order.begin(), order.end(), epoch == 0 ? 9 : 10);
  }
};

static_assert(std::is_constructible_v<loader<tiny>, tiny_set&, data::loader_options, data::random_sampler>);
static_assert(!std::is_constructible_v<loader<tiny>, tiny_set, data::loader_options, data::random_sampler>);
static_assert(!std::is_constructible_v<loader<tiny>, tiny_set&, data::loader_options, int>);

}  // namespace

TEST_CASE("loader with a sampler: visits what the sampler says, epoch after epoch", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 1, 2, 100);
  const tiny_set set = numbered(50);
  const data::weighted_sampler sampler{std::vector<double>(50, 1.0), {.draws = 131, .seed = {3}}};
  loader batches{set, {.batch = 8, .prefetch = prefetch}, sampler};
  REQUIRE(batches.epoch_size() == 17);
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    CHECK(batches.next_epoch() == epoch);
    const auto seen = batches_of(batches);
    REQUIRE(seen.size() == 17);
    CHECK(seen.front().size() == 8);
    CHECK(seen.back().size() == 3);
    CHECK(joined(seen) == epoch_order(sampler, epoch));
  }
  batches.set_next_epoch(1);
  CHECK(joined(batches_of(batches)) == epoch_order(sampler, 1));
}

TEST_CASE("loader with a sampler: a random_sampler is the option shuffle", "[data]") {
  const tiny_set set = numbered(45);
  loader option{set, {.batch = 7, .shuffle = true, .seed = {9}}};
  loader sampled{set, {.batch = 7}, data::random_sampler{set.size(), {.seed = {9}}}};
  for (int epoch = 0; epoch < 3; ++epoch) CHECK(batches_of(option) == batches_of(sampled));
}

TEST_CASE("loader with a sampler: few indices, many indices, no last batch", "[data]") {
  const tiny_set set = numbered(10);
  loader few{set, {.batch = 64}, data::subset_sampler{{7, 7, 1}, 10}};
  CHECK(batches_of(few) == std::vector<list>{{7, 7, 1}});
  loader dropped{set, {.batch = 2, .drop_last = true}, data::subset_sampler{{7, 7, 1}, 10}};
  CHECK(batches_of(dropped) == std::vector<list>{{7, 7}});
  loader none{set, {.batch = 4, .drop_last = true}, data::subset_sampler{{7, 7, 1}, 10}};
  CHECK(batches_of(none).empty());
  loader larger_than_set{set, {.batch = 64}, data::random_sampler{10, {.draws = 100, .replacement = true}}};
  const auto seen = batches_of(larger_than_set);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].size() == 64);
  CHECK(seen[1].size() == 36);
}

TEST_CASE("loader with a sampler: the ranks together see the batches of one", "[data]") {
  const int world = GENERATE(1, 2, 3, 4, 5);
  const std::int64_t size = GENERATE(1, 3, 41, 60);
  const bool drop_last = GENERATE(false, true);
  const std::int64_t prefetch = GENERATE(0, 2);
  const std::int64_t batch = 6;
  const tiny_set set = numbered(size);
  const data::random_sampler base{size, {.seed = {2}}};
  const data::loader_options options{.batch = batch, .drop_last = drop_last, .prefetch = prefetch};
  loader one{set, options, base};
  std::vector<std::unique_ptr<loader<tiny>>> ranks;
  ranks.reserve(static_cast<std::size_t>(world));
  for (int rank = 0; rank < world; ++rank)
    ranks.push_back(std::make_unique<loader<tiny>>(
        set, options, data::distributed_sampler{base, {.batch = batch, .rank = rank, .world_size = world}}));
  for (int epoch = 0; epoch < 2; ++epoch) {
    const auto expected = batches_of(one);
    std::vector<list> together(expected.size());
    for (auto& rank : ranks) {
      CHECK(rank->epoch_size() == one.epoch_size());
      const auto own = batches_of(*rank);
      REQUIRE(own.size() == expected.size());
      for (std::size_t step = 0; step < own.size(); ++step)
        together[step].insert(together[step].end(), own[step].begin(), own[step].end());
    }
    CHECK(together == expected);
  }
}

TEST_CASE("loader with a sampler: a rank knows where its samples lie, and when it has none", "[data]") {
  const tiny_set set = numbered(17);
  loader last{set,
              {.batch = 5},
              data::distributed_sampler{data::sequential_sampler{17}, {.batch = 5, .rank = 2, .world_size = 3}}};
  list first;
  list sizes;
  for (const auto& batch : last) {
    first.push_back(batch.first_index);
    sizes.push_back(batch.size());
  }
  CHECK(first == list{4, 8, 13, 17});
  CHECK(sizes == list{1, 2, 2, 0});
}

TEST_CASE("loader with a sampler: refuses what does not fit", "[data]") {
  const tiny_set set = numbered(10);
  CHECK(message_of([&] {
          loader{set, {.shuffle = true}, data::random_sampler{10}};
        }) ==
        "lockstep: loader: expected either .shuffle or a sampler, which decides the order itself, got both; leave "
        ".shuffle out, or the sampler");
  CHECK(message_of([&] {
          loader{set, {}, data::random_sampler{11}};
        }) ==
        "lockstep: loader: expected a sampler over the data set's 10 samples, got one over 11; build the sampler with "
        "the size() of the data set it is used with");
  CHECK(message_of([&] {
          loader{set, {.batch = 4}, data::stratified_sampler{set.labels(), {.batch = 5}}};
        }) ==
        "lockstep: loader: expected .batch = 5, as its sampler has, got 4; give the loader and the sampler the same "
        "batch");
  CHECK_NOTHROW(loader{set, {.batch = 5}, data::stratified_sampler{set.labels(), {.batch = 5}}});
  CHECK_THROWS_AS((loader{set, {.batch = 0}, data::random_sampler{10}}), lockstep::value_error);
  CHECK_THROWS_AS((loader{set, {.prefetch = -1}, data::random_sampler{10}}), lockstep::value_error);
}

TEST_CASE("loader with a sampler: an index without a sample ends the epoch before it begins", "[data]") {
  const tiny_set set = numbered(10);
  loader batches{set, {.batch = 2}, broken_sampler{}};
  CHECK(joined(batches_of(batches)) == list{9, 9, 9});
  CHECK(message_of([&] { return *batches.begin(); }) ==
        "lockstep: loader: expected indices from 0 to 9, got 10 from its sampler");
  CHECK(batches.next_epoch() == 1);
  batches.set_next_epoch(0);
  CHECK(joined(batches_of(batches)) == list{9, 9, 9});
}
