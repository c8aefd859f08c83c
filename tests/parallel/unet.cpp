// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <lockstep/comm/threads.hpp>

#include "models/unet_small.hpp"
#include "parallel/rank_support.hpp"
#include "parallel/reproducible.hpp"
#include "parallel/trained.hpp"

/// \file
/// A U-Net, with transposed convolutions, nested concats and batch normalisation, on any number of replicas and on
/// ranks against one device.

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using segmenter = ls::model<models::unet_small<2, 4>, ls::input<1, 8, 8>, ls::binary_cross_entropy_with_logits>;

/// Cuts every shard into micro-shards of four samples.
struct small_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 4;
};

constexpr std::int64_t batches[] = {61, 5};

/// A mask for each picture: which pixels are positive, and which are not.
template <class T>
std::vector<T> masks(const std::vector<T>& x) {
  constexpr std::size_t pixels = 64;
  std::vector<T> all;
  for (std::size_t i = 0; i < x.size(); i += pixels)
    for (const bool positive : {true, false})
      for (std::size_t k = 0; k < pixels; ++k) all.push_back((x[i + k] > 0) == positive ? T{1} : T{0});
  return all;
}

/// A few steps from parameters that float and double hold alike. `own(samples)` is what this trainer takes of a batch:
/// from its first sample to one past its last.
template <class Trainer, class Own>
trained train(Trainer& trainer, const Own& own) {
  using value = typename Trainer::value_type;
  constexpr std::int64_t size = segmenter::input_dims.size();
  start_alike(trainer);
  trained result;
  std::uint64_t stream = 10;
  for (const std::int64_t samples : batches) {
    const auto drawn = draws<float>(stream++, samples * size);
    const auto [first, last] = own(samples);
    const std::vector<value> x(drawn.begin() + first * size, drawn.begin() + last * size);
    result.losses.push_back(trainer.step(batch<segmenter>(x), masks(x)));
  }
  result.gradients = as_doubles(trainer.gradients());
  result.parameters = as_doubles(trainer.parameters());
  result.buffers = as_doubles(trainer.buffers());
  return result;
}
template <class Trainer>
trained train(Trainer& trainer) {
  return train(trainer, [](std::int64_t samples) { return std::pair<std::int64_t, std::int64_t>(0, samples); });
}

// So small that no maximum and no relu chooses another element in float than in double.
constexpr ls::sgd optimizer{.learning_rate = 1e-3F, .momentum = 0.9F};

void check_equal(const trained& given, const trained& expected) {
  // The gradient of a bias before a normalisation is a sum of large numbers that is 0.
  lockstep_test::check_equal(given, expected, 1e-5, gradients_compared::by_largest);
}

template <class B, int... N>
void check_replicas(const trained& expected) {
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    ls::data_parallel<segmenter, Count, B> trainer(optimizer, {}, {.pin = false});
    check_equal(train(trainer), expected);
  };
  (check.template operator()<N>(), ...);
}

template <int N>
trained train_reproducibly() {
  ls::data_parallel<segmenter, N, ls::reduce::reproducible> trainer(optimizer, {}, {.pin = false});
  return train(trainer);
}

}  // namespace

TEST_CASE("a U-Net trains on replicas and ranks as on one device", "[unet]") {
  ls::data_parallel<segmenter, 1, ls::reference<double>> one(optimizer);
  const trained expected = train(one);
  REQUIRE(expected.losses.size() == 2);
  SECTION("cpu") { check_replicas<ls::cpu, 1, 2, 3, 4, 8>(expected); }
  SECTION("cpu, shards of several micro-shards") { check_replicas<small_passes, 3>(expected); }
  SECTION("two ranks of two replicas") {
    std::array<trained, 2> ranks;
    check_no_failure(run_ranks(2, [&](thread_rank& rank) {
      const int r = rank.rank();
      ls::data_parallel<segmenter, 2, thread_rank> trainer(optimizer, std::move(rank), {}, {.pin = false});
      ranks[static_cast<std::size_t>(r)] = train(trainer, [&](std::int64_t samples) {
        const std::int64_t cut = samples * 2 / 5;
        return r == 0 ? std::pair<std::int64_t, std::int64_t>(0, cut) : std::pair(cut, samples);
      });
    }));
    for (const trained& each : ranks) check_equal(each, expected);
  }
}

TEST_CASE("a U-Net trains to the same bits on 1, 2, 4 and 8 replicas", "[unet]") {
  const trained expected = train_reproducibly<1>();
  const auto check = [&](const trained& given) {
    CHECK(same_bits(given.losses, expected.losses));
    CHECK(same_bits(given.gradients, expected.gradients));
    CHECK(same_bits(given.parameters, expected.parameters));
    CHECK(same_bits(given.buffers, expected.buffers));
  };
  check(train_reproducibly<2>());
  check(train_reproducibly<4>());
  check(train_reproducibly<8>());
}
