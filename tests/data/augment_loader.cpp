// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a sample becomes depends on the seed, the epoch and its place in the epoch, and on nothing else.

#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include <lockstep/data/augment.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/one_hot.hpp>
#include <lockstep/data/sampler.hpp>
#include <lockstep/data/table.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::augment;
using data::field;
using data::loader;
using data::loader_options;

constexpr std::int64_t samples = 53;
using pictures = data::dataset<ls::shape<3, 6, 5>>;
using targets = data::dataset<field<float, 3, 6, 5>, field<float, 4>>;
using sample = std::pair<std::vector<float>, std::vector<float>>;
using epoch_of_samples = std::vector<sample>;

pictures draw_pictures() {
  const ls::random_stream draws(ls::seed{1}, ls::random_purpose::synthetic_data);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(samples * 90));
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(draws.below(256, i));
  for (std::int64_t i = 0; i < samples; ++i) labels.push_back(i % 4);
  return {std::move(bytes), std::move(labels), 4};
}

/// By its place in the epoch, each sample that this loader yields in its next epoch.
template <class Loader>
void collect(Loader& from, std::map<std::int64_t, sample>& to) {
  for (const auto& batch : from) {
    const auto& [features, values] = batch;
    const auto per_sample = static_cast<std::ptrdiff_t>(values.size()) / std::max<std::int64_t>(batch.size(), 1);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      const float* const first = features.data_handle() + i * 90;
      const auto target = values.begin() + i * per_sample;
      REQUIRE(to.count(batch.first_index + i) == 0);
      to[batch.first_index + i] = {std::vector<float>(first, first + 90),
                                   std::vector<float>(target, target + per_sample)};
    }
  }
}

template <class Loader>
std::map<std::int64_t, sample> epoch_of(Loader& from, std::uint64_t epoch) {
  std::map<std::int64_t, sample> result;
  from.set_next_epoch(epoch);
  collect(from, result);
  return result;
}

auto pipeline() {
  return augment{data::pad_and_crop<2>{}, data::flip<>{}, data::random_erasing{.value = {}}, data::cutout<2>{},
                 data::mixup{.alpha = 0.4}};
}

}  // namespace

TEST_CASE("augmentation does not depend on batches, prefetching or a resume", "[data][augment]") {
  const targets set = data::one_hot<4>(draw_pictures());
  loader whole{set, {.batch = 16, .shuffle = true, .seed = {9}}, pipeline()};
  const auto first = epoch_of(whole, 0);
  const auto third = epoch_of(whole, 2);
  REQUIRE(first.size() == static_cast<std::size_t>(samples));
  CHECK(first != third);
  for (const std::int64_t batch : {1, 7, 16, 53, 1000})
    for (const std::int64_t prefetch : {0, 1, 3}) {
      loader other{set, {.batch = batch, .shuffle = true, .seed = {9}, .prefetch = prefetch}, pipeline()};
      CHECK(epoch_of(other, 2) == third);  // as after a resume
      CHECK(epoch_of(other, 0) == first);
    }
  loader other_seed{set, {.batch = 16, .shuffle = true, .seed = {10}}, pipeline()};
  CHECK(epoch_of(other_seed, 0) != first);
}

TEST_CASE("augmentation goes on in the middle of an epoch as if the walk had never ended", "[data][augment]") {
  const targets set = data::one_hot<4>(draw_pictures());
  const loader_options options{.batch = 8, .shuffle = true, .seed = {9}};
  loader whole{set, options, pipeline()};
  auto expected = epoch_of(whole, 2);
  loader resumed{set, options, pipeline()};
  resumed.resume_at({.epoch = 2, .batch = 3});
  std::map<std::int64_t, sample> rest;
  collect(resumed, rest);
  expected.erase(expected.begin(), expected.find(24));
  CHECK(rest == expected);

  // What a checkpoint asks for before it lets a walk go on.
  const auto known = whole.identity(2);
  CHECK(resumed.identity(2) == known);
  loader other_seed{set, {.batch = 8, .seed = {10}}, augment<data::flip<>>{}};
  loader same_order{set, {.batch = 8, .seed = {9}}, augment<data::flip<>>{}};
  loader more{set, {.batch = 8, .seed = {9}}, augment<data::flip<>, data::flip<>>{}};
  CHECK(other_seed.identity(0) != same_order.identity(0));
  CHECK(more.identity(0) != same_order.identity(0));
}

TEST_CASE("augmentation does not depend on the number of ranks", "[data][augment]") {
  const targets set = data::one_hot<4>(draw_pictures());
  const data::random_sampler order(samples, {.seed = {4}});
  loader one{set, {.batch = 10, .seed = {9}}, order, pipeline()};
  const auto expected = epoch_of(one, 3);
  REQUIRE(expected.size() == static_cast<std::size_t>(samples));
  for (int world = 1; world <= 4; ++world) {
    std::map<std::int64_t, sample> all;
    std::map<std::int64_t, sample> without_mixing;
    for (int rank = 0; rank < world; ++rank) {
      const data::distributed_sampler part(order, {.batch = 10, .rank = rank, .world_size = world});
      loader own{set, {.batch = 10, .seed = {9}}, part, pipeline()};
      own.set_next_epoch(3);
      collect(own, all);
      loader unmixed{set, {.batch = 10, .seed = {9}}, part, augment{data::pad_and_crop<2>{}, data::flip<>{}}};
      unmixed.set_next_epoch(3);
      collect(unmixed, without_mixing);
    }
    CHECK(all == expected);
    loader unmixed{set, {.batch = 10, .seed = {9}}, order, augment{data::pad_and_crop<2>{}, data::flip<>{}}};
    CHECK(without_mixing == epoch_of(unmixed, 3));
  }
}

TEST_CASE("augmentation changes a sample differently in each epoch, and each time it comes", "[data][augment]") {
  const pictures set = draw_pictures();
  const augment<data::pad_and_crop<2>, data::random_erasing> by{};
  loader often{set, {.batch = 8, .seed = {2}}, data::subset_sampler(std::vector<std::int64_t>(40, 5), samples), by};
  std::set<std::vector<float>> seen;
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch)
    for (const auto& [place, one] : epoch_of(often, epoch)) seen.insert(one.first);
  CHECK(seen.size() > 60);  // 25 windows, half of them erased in some box
}

TEST_CASE("a transform draws the same whatever stands after it, and however much those before it draw",
          "[data][augment]") {
  const pictures set = draw_pictures();
  const auto draw_some = [](int count) {
    return [count](auto /*picture*/, data::random_draws& draws) {
      for (int i = 0; i < count; ++i) static_cast<void>(draws.bits());
    };
  };
  loader one{set, {}, augment{draw_some(1), data::pad_and_crop<2>{}}};
  loader many{set, {}, augment{draw_some(1000), data::pad_and_crop<2>{}, draw_some(3)}};
  loader none{set, {}};
  CHECK(epoch_of(one, 1) == epoch_of(many, 1));
  CHECK(epoch_of(one, 1) != epoch_of(none, 1));
}

TEST_CASE("transforms take place in their order, on pictures of bytes and of floats alike", "[data][augment]") {
  const pictures bytes = draw_pictures();
  const auto floats = data::to_fields(bytes);
  const auto norm = data::measure_normalisation(floats);
  const auto doubled = [](auto picture, data::random_draws&) {
    for (std::int64_t i = 0; i < 90; ++i) picture.data_handle()[i] *= 2;
  };
  loader before{bytes, {}, augment{doubled, data::normalise{norm}}};
  loader after{floats, {}, augment{data::normalise{norm}, doubled}};
  loader plain{floats, {}};
  const auto first = epoch_of(before, 0);
  const auto second = epoch_of(after, 0);
  for (const auto& [place, one] : epoch_of(plain, 0))
    for (std::size_t i = 0; i < one.first.size(); ++i) {
      const double mean = norm.mean()[i / 30];
      const double deviation = norm.deviation()[i / 30];
      CHECK(first.at(place).first[i] == static_cast<float>((2 * double{one.first[i]} - mean) / deviation));
      CHECK(second.at(place).first[i] == 2 * static_cast<float>((double{one.first[i]} - mean) / deviation));
    }
}

TEST_CASE("normalise gives the bits of a data set that was normalised before", "[data][augment]") {
  const auto floats = data::to_fields(draw_pictures());
  const auto norm = data::measure_normalisation(floats);
  loader on_the_way{floats, {}, augment{data::normalise{norm}}};
  const auto ready = data::normalised(data::to_fields(draw_pictures()), norm);
  loader beforehand{ready, {}};
  CHECK(epoch_of(on_the_way, 0) == epoch_of(beforehand, 0));
}

TEST_CASE("labels stay with their pictures, and an empty pipeline changes nothing", "[data][augment]") {
  const pictures set = draw_pictures();
  const loader_options options{.batch = 9, .shuffle = true};
  loader plain{set, options};
  loader unchanged{set, options, augment<>{}};
  loader changed{set, options, augment<data::pad_and_crop<2>, data::flip<>>{}};
  CHECK(epoch_of(plain, 0) == epoch_of(unchanged, 0));
  const auto before = epoch_of(plain, 1);
  for (const auto& [place, one] : epoch_of(changed, 1)) CHECK(one.second == before.at(place).second);
}
