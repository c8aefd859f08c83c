// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/loader.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <ranges>
#include <set>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using lockstep::data::loader;
using lockstep::data::loader_options;

using tiny = lockstep::shape<1, 2, 3>;
using tiny_set = lockstep::data::dataset<tiny>;

// The label of a sample is its index, and its values are a function of it.
std::uint8_t pixel(std::int64_t sample, std::int64_t place) {
  return static_cast<std::uint8_t>(sample * 37 + place * 11);
}

tiny_set numbered(std::int64_t samples) {
  std::vector<std::uint8_t> pixels;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) {
    labels.push_back(i);
    for (std::int64_t place = 0; place < tiny_set::sample_size; ++place) pixels.push_back(pixel(i, place));
  }
  return {std::move(pixels), std::move(labels), std::max<std::int64_t>(samples, 1)};
}

std::vector<std::int64_t> labels_of_epoch(loader<tiny>& batches) {
  std::vector<std::int64_t> seen;
  for (auto&& [images, labels] : batches) seen.insert(seen.end(), labels.begin(), labels.end());
  return seen;
}

std::vector<std::int64_t> sorted(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

std::vector<std::int64_t> count_up(std::int64_t size) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < size; ++i) values.push_back(i);
  return values;
}

std::int64_t step(lockstep::tensor_view<const float, lockstep::shape<lockstep::dynamic, 3, 32, 32>> images,
                  std::span<const std::int64_t> labels) {
  return images.extent(0) == static_cast<std::int64_t>(labels.size()) ? images.extent(0) : -1;
}

static_assert(std::ranges::input_range<loader<tiny>>);
static_assert(std::is_constructible_v<loader<tiny>, tiny_set&>);
static_assert(std::is_constructible_v<loader<tiny>, const tiny_set&, loader_options>);
static_assert(!std::is_constructible_v<loader<tiny>, tiny_set>);
static_assert(!std::is_constructible_v<loader<tiny>, const tiny_set, loader_options>);

}  // namespace

TEST_CASE("loader: a batch goes where a trainer takes it", "[data]") {
  auto [train, test] = lockstep::data::split<lockstep::shape<3, 32, 32>>{
      {std::vector<std::uint8_t>(5 * 3072, 51), {0, 1, 2, 3, 4}, 5}, {{}, {}, 5}};
  std::vector<std::int64_t> sizes;
  for (auto&& [images, labels] : loader{train, {.batch = 2, .shuffle = true}}) {
    sizes.push_back(step(images, labels));
    CHECK(images(0, 2, 31, 31) == 51.0F / 255.0F);
  }
  CHECK(sizes == std::vector<std::int64_t>{2, 2, 1});
  for (const auto& batch : loader{test}) FAIL("an empty set has no batch of " << batch.size());
}

TEST_CASE("loader: yields every value, scaled, with its label", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 1, 2, 7, 1'000);
  const bool shuffle = GENERATE(false, true);
  const tiny_set set = numbered(300);
  loader batches{set, {.batch = 7, .shuffle = shuffle, .prefetch = prefetch}};
  REQUIRE(batches.epoch_size() == 43);
  std::int64_t count = 0;
  std::int64_t wrong = 0;
  for (const auto& batch : batches) {
    CHECK(batch.first_index == count);
    CHECK(batch.size() == (count == 294 ? 6 : 7));
    CHECK(batch.images.extent(0) == batch.size());
    for (std::int64_t i = 0; i < batch.size(); ++i)
      for (std::int64_t place = 0; place < tiny_set::sample_size; ++place) {
        const float expected = static_cast<float>(pixel(batch.labels[static_cast<std::size_t>(i)], place)) / 255.0F;
        wrong += batch.images(i, 0, place / 3, place % 3) == expected ? 0 : 1;
      }
    count += batch.size();
  }
  CHECK(count == 300);
  CHECK(wrong == 0);
}

TEST_CASE("loader: the scale is x / 255 for every byte", "[data]") {
  std::vector<std::uint8_t> bytes(256);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  const lockstep::data::dataset<lockstep::shape<256>> set(bytes, {0}, 1);
  loader batches{set};
  const auto [images, labels] = *batches.begin();
  for (int i = 0; i < 256; ++i) {
    volatile float x = static_cast<float>(i);  // divided at run time
    CHECK(images(0, i) == x / 255.0F);
  }
}

TEST_CASE("loader: keeps or drops a partial last batch", "[data]") {
  const tiny_set set = numbered(10);
  const auto sizes = [&](const loader_options& options) {
    loader batches{set, options};
    std::vector<std::int64_t> result;
    for (const auto& batch : batches) result.push_back(batch.size());
    CHECK(static_cast<std::int64_t>(result.size()) == batches.epoch_size());
    return result;
  };
  using list = std::vector<std::int64_t>;
  CHECK(sizes({.batch = 4}) == list{4, 4, 2});
  CHECK(sizes({.batch = 4, .drop_last = true}) == list{4, 4});
  CHECK(sizes({.batch = 5, .drop_last = true}) == list{5, 5});
  CHECK(sizes({.batch = 10}) == list{10});
  CHECK(sizes({.batch = 11}) == list{10});
  CHECK(sizes({.batch = 11, .drop_last = true}).empty());
  CHECK(sizes({.batch = std::numeric_limits<std::int64_t>::max(),
               .prefetch = std::numeric_limits<std::int64_t>::max()}) == list{10});
  CHECK(sizes({.batch = 1, .prefetch = 0}) == list(10, 1));
}

TEST_CASE("loader: an unshuffled epoch keeps the order, a shuffled one every sample", "[data]") {
  const tiny_set set = numbered(101);
  loader plain{set, {.batch = 8}};
  CHECK(labels_of_epoch(plain) == count_up(101));
  CHECK(labels_of_epoch(plain) == count_up(101));
  loader shuffled{set, {.batch = 8, .shuffle = true}};
  for (int epoch = 0; epoch < 3; ++epoch) {
    const auto seen = labels_of_epoch(shuffled);
    CHECK(seen != count_up(101));
    CHECK(sorted(seen) == count_up(101));
  }
}

TEST_CASE("loader: the order is a function of seed and epoch", "[data]") {
  const tiny_set set = numbered(60);
  loader first{set, {.batch = 8, .shuffle = true, .seed = {3}}};
  loader same{set, {.batch = 13, .shuffle = true, .seed = {3}, .prefetch = 0}};
  loader other{set, {.batch = 8, .shuffle = true, .seed = {4}}};
  std::set<std::vector<std::int64_t>> orders;
  std::vector<std::int64_t> second;
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    CHECK(first.next_epoch() == epoch);
    const auto order = labels_of_epoch(first);
    CHECK(order == labels_of_epoch(same));
    CHECK(order != labels_of_epoch(other));
    if (epoch == 2) second = order;
    orders.insert(order);
  }
  CHECK(orders.size() == 4);
  first.set_next_epoch(2);
  CHECK(labels_of_epoch(first) == second);
  CHECK(first.next_epoch() == 3);
}

TEST_CASE("shuffled_order: is Fisher and Yates' shuffle over the stream's draws", "[data]") {
  constexpr std::size_t size = 23;
  std::vector<std::int64_t> order(size);
  lockstep::data::shuffled_order(order, lockstep::seed{11}, 5);
  const lockstep::random_stream draws(lockstep::seed{11}, lockstep::random_purpose::shuffle, 5);
  auto expected = count_up(size);
  for (std::size_t i = size - 1; i > 0; --i)
    std::swap(expected[i], expected[draws.below(static_cast<std::uint32_t>(i + 1), size - 1 - i)]);
  CHECK(order == expected);
}

TEST_CASE("shuffled_order: all orders are equally likely", "[data]") {
  std::map<std::vector<std::int64_t>, int> count;
  std::vector<std::int64_t> order(4);
  constexpr int epochs = 24 * 200;
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
    lockstep::data::shuffled_order(order, lockstep::seed{1}, epoch);
    ++count[order];
  }
  REQUIRE(count.size() == 24);
  double chi_squared = 0;
  for (const auto& [key, times] : count) chi_squared += (times - 200.0) * (times - 200.0) / 200.0;
  CHECK(chi_squared < 49.7);  // 0.1 % of 23 degrees of freedom
  std::vector<std::int64_t> none;
  CHECK_NOTHROW(lockstep::data::shuffled_order(none, lockstep::seed{1}, 0));
}

TEST_CASE("loader: may be left early, anywhere", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 1, 2, 5);
  const tiny_set set = numbered(40);
  loader batches{set, {.batch = 4, .prefetch = prefetch}};
  for (int leave = 0; leave < 12; ++leave) {
    int seen = 0;
    for (const auto& batch : batches) {
      CHECK(batch.labels[0] == 4 * seen);
      if (seen++ == leave) break;
    }
    CHECK(seen == std::min(leave + 1, 10));
    loader dropped{set, {.batch = 4, .prefetch = prefetch}};
    auto position = dropped.begin();
    for (int i = 0; i < leave && position != dropped.end(); ++i) ++position;
  }
  CHECK(labels_of_epoch(batches) == count_up(40));
}

TEST_CASE("loader: works as a range", "[data]") {
  const tiny_set set = numbered(40);
  loader batches{set, {.batch = 4}};
  std::vector<std::int64_t> seen;
  for (const auto& batch : batches | std::views::take(3)) seen.push_back(batch.labels[0]);
  CHECK(seen == std::vector<std::int64_t>{0, 4, 8});
}

TEST_CASE("loader: reuses its buffers", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 1, 3);
  const tiny_set set = numbered(400);
  loader batches{set, {.batch = 4, .shuffle = true, .prefetch = prefetch}};
  std::set<const float*> images_seen;
  std::set<const std::int64_t*> labels_seen;
  for (int epoch = 0; epoch < 2; ++epoch)
    for (auto&& [images, labels] : batches) {
      images_seen.insert(images.data_handle());
      labels_seen.insert(labels.data());
    }
  CHECK(static_cast<std::int64_t>(images_seen.size()) == prefetch + 1);
  CHECK(static_cast<std::int64_t>(labels_seen.size()) == prefetch + 1);
}

TEST_CASE("loader: refuses bad options", "[data]") {
  const tiny_set set = numbered(4);
  CHECK_THROWS_AS(loader(set, {.batch = 0}), lockstep::value_error);
  CHECK_THROWS_AS(loader(set, {.batch = -1}), lockstep::value_error);
  CHECK_THROWS_AS(loader(set, {.prefetch = -1}), lockstep::value_error);
}
