// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where a walk stands, and walks that go on there.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/data/augment.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/sampler.hpp>
#include <lockstep/data/stream.hpp>
#include <lockstep/data/table.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using lockstep_test::error_of;
using lockstep_test::lacking;
using ls::data::loader;
using ls::data::loader_position;
using one = ls::shape<1>;
using value = ls::data::field<float>;
using batches_of_labels = std::vector<std::vector<std::int64_t>>;

static_assert(ls::data::resumable_loader<loader<one>> && ls::data::resumable_loader<loader<ls::data::stream<value>>> &&
              !ls::data::resumable_loader<int>);

ls::data::dataset<one> numbered(std::int64_t samples, std::uint8_t first_pixel = 0) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) labels.push_back(i);
  std::vector<std::uint8_t> pixels(labels.begin(), labels.end());
  pixels.front() = first_pixel;
  return {std::move(pixels), labels, samples};
}

/// The rest of an epoch, and what position() says before each batch, in its loop, and at the end.
template <class Loader>
batches_of_labels walk(Loader& batches, loader_position at) {
  batches_of_labels all;
  CHECK(batches.position() == at);
  for (const auto& [images, labels] : batches) {
    all.emplace_back(labels.begin(), labels.end());
    ++at.batch;
    CHECK(batches.position() == at);
  }
  CHECK(batches.position() == loader_position{at.epoch + 1, 0});
  return all;
}

template <class Make>
void check_goes_on(const Make& make, std::int64_t batches) {
  std::vector<batches_of_labels> whole;
  {
    auto straight = make(2);
    for (std::uint64_t epoch = 0; epoch < 3; ++epoch) whole.push_back(walk(*straight, {epoch, 0}));
  }
  for (const std::int64_t prefetch : {0, 1, 2, 9})
    for (std::uint64_t epoch = 0; epoch < 2; ++epoch)
      for (std::int64_t batch = 0; batch <= batches; ++batch) {
        INFO("prefetch " << prefetch << ", epoch " << epoch << ", batch " << batch);
        auto resumed = make(prefetch);
        resumed->resume_at({epoch, batch});
        batches_of_labels rest = whole[epoch];
        rest.erase(rest.begin(), rest.begin() + batch);
        CHECK(walk(*resumed, {epoch, batch}) == rest);
        CHECK(walk(*resumed, {epoch + 1, 0}) == whole[epoch + 1]);
      }
}

}  // namespace

TEST_CASE("loader: a walk goes on at any batch of any epoch", "[data]") {
  const auto set = numbered(11);
  const bool drop = GENERATE(false, true);
  const std::int64_t count = drop ? 3 : 4;
  for (const bool shuffle : {false, true})
    check_goes_on(
        [&](std::int64_t prefetch) {
          return std::make_unique<loader<one>>(
              set, ls::data::loader_options{
                       .batch = 3, .shuffle = shuffle, .seed = {5}, .drop_last = drop, .prefetch = prefetch});
        },
        count);
  check_goes_on(
      [&](std::int64_t prefetch) {
        return std::make_unique<loader<one>>(
            set, ls::data::loader_options{.batch = 3, .drop_last = drop, .prefetch = prefetch},
            ls::data::random_sampler{11, {.replacement = true, .seed = {3}}});
      },
      count);
}

TEST_CASE("loader: the ranks' parts of an epoch go on alike", "[data]") {
  const auto set = numbered(11);
  for (int rank = 0; rank < 3; ++rank)
    check_goes_on(
        [&](std::int64_t prefetch) {
          const ls::data::distributed_sampler mine{ls::data::random_sampler{11, {.seed = {4}}},
                                                   {.batch = 4, .rank = rank, .world_size = 3}};
          return std::make_unique<loader<one>>(set, ls::data::loader_options{.batch = 4, .prefetch = prefetch}, mine);
        },
        3);
}

TEST_CASE("loader: a batch counts once its user has got it", "[data]") {
  const auto set = numbered(12);
  loader batches{set, {.batch = 3}};
  auto at = batches.begin();
  CHECK(batches.position() == loader_position{0, 0});
  CHECK(at->size() == 3);
  CHECK(batches.position() == loader_position{0, 1});
  ++at;
  CHECK(batches.position() == loader_position{0, 1});
  ++at;  // never looked at, and left all the same
  CHECK(batches.position() == loader_position{0, 2});
  CHECK(at != batches.end());
  CHECK(batches.position() == loader_position{0, 2});
}

TEST_CASE("loader: an epoch that is left early is under way until it is ended", "[data]") {
  const auto set = numbered(12);
  loader batches{set, {.batch = 3}};
  for (const auto& batch : batches)
    if (batch.labels[0] == 3) break;
  CHECK(batches.position() == loader_position{0, 2});
  batches.end_epoch();
  CHECK(batches.position() == loader_position{1, 0});
  batches.resume_at({7, 2});
  CHECK(batches.next_epoch() == 7);
  batches.set_next_epoch(3);
  CHECK(batches.position() == loader_position{3, 0});
}

TEST_CASE("loader: a place that no epoch has is refused", "[data]") {
  const auto set = numbered(12);
  loader batches{set, {.batch = 3}};
  batches.resume_at({2, 4});
  CHECK(lacking(error_of<ls::value_error>([&] { batches.resume_at({0, 5}); }), {"a batch from 0 to 4", "got 5"}) == "");
  CHECK(lacking(error_of<ls::value_error>([&] { batches.resume_at({0, -1}); }), {"got -1"}) == "");
  CHECK(batches.position() == loader_position{2, 4});
}

TEST_CASE("loader: its identity says what decides the batches", "[data]") {
  const auto set = numbered(40);
  const auto identity = [](const auto& data, const auto&... how) { return loader<one>(data, how...).identity(1); };
  const ls::data::loader_options plain{.batch = 4};
  const auto first = identity(set, plain);
  CHECK(identity(numbered(40), ls::data::loader_options{.batch = 4, .prefetch = 0}) == first);
  CHECK(identity(numbered(40, 9), plain) != first);
  CHECK(identity(numbered(41), plain) != first);
  CHECK(identity(set, ls::data::loader_options{.batch = 5}) != first);
  CHECK(identity(set, ls::data::loader_options{.batch = 4, .drop_last = true}) != first);
  const auto shuffled = identity(set, ls::data::loader_options{.batch = 4, .shuffle = true});
  CHECK(shuffled != first);
  CHECK(identity(set, ls::data::loader_options{.batch = 4, .shuffle = true, .seed = {1}}) != shuffled);

  const ls::data::random_sampler some{40, {.seed = {1}}};
  const auto sampled = identity(set, plain, some);
  CHECK(identity(set, plain, some) == sampled);
  CHECK(identity(set, plain, ls::data::random_sampler{40, {.seed = {2}}}) != sampled);
  // Of all ranks together.
  const auto of_rank = [&](int rank, int world) {
    return identity(set, plain, ls::data::distributed_sampler{some, {.batch = 4, .rank = rank, .world_size = world}});
  };
  CHECK(of_rank(0, 2) == sampled);
  CHECK(of_rank(1, 2) == sampled);
  CHECK(of_rank(4, 7) == sampled);
  loader batches{set, plain, some};
  CHECK(batches.identity(1) == sampled);
  CHECK(batches.identity(2) != sampled);
  CHECK(batches.identity(1) == sampled);
}

TEST_CASE("loader: a table's identity takes in all its fields", "[data]") {
  using table = ls::data::dataset<value, ls::data::field<std::int64_t>>;
  const auto identity = [](float a, std::int64_t b) {
    const table data(std::vector<float>{1, 2, a}, std::vector<std::int64_t>{4, 5, b});
    return loader<value, ls::data::field<std::int64_t>>(data).identity(0);
  };
  CHECK(identity(3, 6) == identity(3, 6));
  CHECK(identity(3.5F, 6) != identity(3, 6));
  CHECK(identity(3, 7) != identity(3, 6));
}

TEST_CASE("loader: a walk over a stream goes on at any batch", "[data]") {
  const auto make = [](std::uint64_t walk) {
    return [walk, i = std::int64_t{0}](float& x) mutable {
      x = static_cast<float>(100 * walk) + static_cast<float>(i);
      return i++ < 11;
    };
  };
  const auto rest = [](auto& batches, loader_position at) {
    std::vector<float> all;
    CHECK(batches.position() == at);
    for (const auto& batch : batches) {
      CHECK(batch.first_index == 4 * at.batch);
      const auto& [values] = batch;
      all.insert(all.end(), values.data_handle(), values.data_handle() + batch.size());
      ++at.batch;
      CHECK(batches.position() == at);
    }
    CHECK(batches.position() == loader_position{at.epoch + 1, 0});
    return all;
  };
  for (const std::int64_t prefetch : {0, 2})
    for (std::int64_t batch = 0; batch <= 3; ++batch) {
      INFO("prefetch " << prefetch << ", batch " << batch);
      ls::data::stream<value> samples(make);
      loader batches{samples, {.batch = 4, .prefetch = prefetch}};
      batches.resume_at({2, batch});
      std::vector<float> expected;
      for (std::int64_t i = 4 * batch; i < 11; ++i) expected.push_back(200 + static_cast<float>(i));
      CHECK(rest(batches, {2, batch}) == expected);
      CHECK(rest(batches, {3, 0}).size() == 11);
      batches.resume_at({0, 5});
      CHECK(lacking(error_of<ls::value_error>([&] { static_cast<void>(batches.begin()); }),
                    {"a stream that reaches the batch to go on at", "the source of the run"}) == "");
    }
}

TEST_CASE("loader: samples that are changed at random are changed alike where a walk goes on", "[data]") {
  using picture = ls::shape<1, 1, 2>;
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < 24; ++i) pixels.push_back(static_cast<std::uint8_t>(i));
  const ls::data::dataset<picture> set(std::move(pixels), std::vector<std::int64_t>(12, 0), 1);
  const ls::data::loader_options how{.batch = 2, .shuffle = true, .seed = {8}};
  const ls::data::augment by{ls::data::flip<>{}};
  const auto walk = [&](loader<picture>& batches) {
    std::vector<float> all;
    for (const auto& [images, labels] : batches)
      all.insert(all.end(), images.data_handle(), images.data_handle() + 2 * images.extent(0));
    return all;
  };
  loader<picture> straight{set, how, by};
  static_cast<void>(walk(straight));
  const std::vector<float> whole = walk(straight);
  CHECK(whole != walk(straight));
  for (std::int64_t batch = 0; batch <= 6; ++batch) {
    loader<picture> resumed{set, how, by};
    resumed.resume_at({1, batch});
    CHECK(walk(resumed) == std::vector<float>(whole.begin() + 4 * batch, whole.end()));
  }
  CHECK(straight.identity(0) != loader<picture>(set, how).identity(0));
}
