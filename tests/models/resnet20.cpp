// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "models/resnet20.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/comm/threads.hpp>

#include "golden/golden.hpp"
#include "parallel/rank_support.hpp"

/// \file
/// resnet20 on replicas and ranks, against one device and against PyTorch.

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using classifier = ls::model<models::resnet20<10>, ls::input<3, 32, 32>, ls::cross_entropy>;

// Those of generate_resnet20.py.
constexpr ls::sgd optimizer{.learning_rate = 0x1p-9F, .momentum = 0.875F, .weight_decay = 0x1p-10F};

/// The parameters of generate_resnet20.py.
template <class Trainer>
void start(Trainer& trainer) {
  std::uint64_t stream = 100;
  for (const auto& parameter : trainer.parameters()) {
    const std::string name(parameter.name());
    const auto holds = [&](const char* part) { return name.find(part) != std::string::npos; };
    const auto size = static_cast<std::size_t>(parameter.size());
    if (holds("bn2")) {
      parameter.assign(std::vector<float>(size, name.ends_with("weight") ? 0.25F : 0.F));
    } else if (holds("bn1") || holds("downsample.1")) {
      parameter.assign(std::vector<float>(size, name.ends_with("weight") ? 1.F : 4.F));
    } else {
      const std::int64_t fan_in = parameter.shape().rank > 1 ? parameter.size() / parameter.shape()[0] : 64;
      parameter.assign(golden_symmetric(stream++, parameter.size(), fan_in_bound(fan_in)));
    }
  }
}

piece batch_of(std::uint64_t step, std::int64_t samples) {
  return {golden_symmetric(2000 + step, samples * 3072), golden_labels(3000 + step, samples, 10)};
}

/// What a step on a batch of 61 samples and one of 5 leave behind.
struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, state;
};

constexpr std::array<std::int64_t, 2> sizes{61, 5};

/// `own(samples)` is what this trainer takes of a batch: from its first sample to one past its last.
template <class Trainer, class Own>
trained train(Trainer& trainer, const Own& own) {
  start(trainer);
  trained result;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto [first, last] = own(sizes[i]);
    result.losses.push_back(step_on(trainer, cut<classifier>(batch_of(i, sizes[i]), first, last - first)));
  }
  result.gradients = as_doubles(trainer.gradients());
  result.state = as_doubles(trainer.state());
  return result;
}

template <int N, class... Policies>
trained train_replicas() {
  ls::data_parallel<classifier, N, Policies...> trainer(optimizer, {}, {.pin = false});
  return train(trainer, [](std::int64_t samples) { return std::pair<std::int64_t, std::int64_t>(0, samples); });
}

void check_equal(const trained& given, const trained& expected) {
  for (std::size_t i = 0; i < sizes.size(); ++i)
    CHECK(is_close(given.losses[i], expected.losses[i], {.relative = 1e-5}));
  double largest = 0;
  for (const auto& each : expected.gradients) largest = std::max(largest, largest_magnitude(each));
  for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
    INFO("gradient " << p);
    CHECK(largest_difference(given.gradients[p], expected.gradients[p]) <= 1e-5 * largest);
  }
  REQUIRE(given.state.size() == expected.state.size());
  for (std::size_t p = 0; p < expected.state.size(); ++p) {
    INFO("tensor " << p);
    CHECK(largest_difference(given.state[p], expected.state[p]) <=
          1e-5 * std::max(1e-2, largest_magnitude(expected.state[p])));
  }
}

}  // namespace

TEST_CASE("resnet20 on replicas and ranks equals one device", "[resnet20]") {
  const trained expected = train_replicas<1>();
  check_equal(train_replicas<3>(), expected);
  std::array<trained, 2> ranks;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<classifier, 2, thread_rank, ls::bucket_bytes<100'000>> trainer(optimizer, std::move(rank), {},
                                                                                     {.pin = false});
    ranks[static_cast<std::size_t>(r)] = train(trainer, [&](std::int64_t samples) {
      const std::int64_t cut = samples * 2 / 5;
      return r == 0 ? std::pair<std::int64_t, std::int64_t>(0, cut) : std::pair(cut, samples);
    });
  }));
  for (const trained& each : ranks) check_equal(each, expected);

  // 1, 2, 4 and 8 replicas, to the same bits.
  const trained reproducible = train_replicas<1, ls::reduce::reproducible>();
  check_equal(reproducible, expected);
  for (const trained& given :
       {train_replicas<2, ls::reduce::reproducible>(), train_replicas<4, ls::reduce::reproducible>(),
        train_replicas<8, ls::reduce::reproducible>()}) {
    CHECK(same_bits(given.losses, reproducible.losses));
    CHECK(same_bits(given.gradients, reproducible.gradients));
    CHECK(same_bits(given.state, reproducible.state));
  }
}

TEST_CASE("resnet20 goes PyTorch's way for twenty steps", "[resnet20]") {
  const auto golden = golden_file("resnet20");
  ls::data_parallel<classifier, 3> trainer(optimizer, {}, {.pin = false});
  start(trainer);
  const auto before = as_doubles(trainer.state());
  const auto losses = golden.values_f64("losses");
  REQUIRE(losses.size() == 20);
  for (std::uint64_t step = 0; step < losses.size(); ++step) {
    const double loss = step_on(trainer, batch_of(step, 13));
    INFO("step " << step);
    CHECK(is_close(loss, losses[step], {.relative = 1e-5}));
  }
  std::size_t compared = 0;
  for (const auto& tensor : trainer.state()) {
    INFO(tensor.name());
    const auto values = tensor.values();
    const auto expected = golden.values_f32("trained/" + std::string(tensor.name()));
    const std::size_t stride = (values.size() + 2047) / 2048;
    REQUIRE(expected.size() == (values.size() + stride - 1) / stride);
    double distance = 0;
    double way = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      distance += std::pow(double{values[i * stride]} - double{expected[i]}, 2);
      way += std::pow(double{expected[i]} - before[compared][i * stride], 2);
    }
    CHECK(std::sqrt(distance) <= 1e-3 * std::sqrt(way));
    ++compared;
  }
  CHECK(compared == 128);
}
