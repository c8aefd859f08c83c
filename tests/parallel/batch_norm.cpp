// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/batch_norm.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/failing_backend.hpp"
#include "parallel/normalised.hpp"

/// \file
/// Batch normalisation on any number of replicas against one device.

namespace ls = lockstep;
using namespace lockstep_test;
using namespace lockstep_test::normalised;

namespace {

template <class B, int... N>
void check_replicas(const trained& expected) {
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    ls::data_parallel<classifier, Count, B> trainer(optimizer, {}, {.pin = false});
    check_equal(train(trainer), expected);
  };
  (check.template operator()<N>(), ...);
}

template <class B, int N>
trained train_reproducibly_with_buffers() {
  ls::data_parallel<classifier, N, B, ls::reduce::reproducible> trainer(optimizer, {}, {.pin = false});
  return train(trainer);
}

template <class B, int... N>
void check_bits() {
  const trained expected = train_reproducibly_with_buffers<B, 1>();
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    const trained given = train_reproducibly_with_buffers<B, Count>();
    CHECK(same_bits(given.losses, expected.losses));
    CHECK(same_bits(given.gradients, expected.gradients));
    CHECK(same_bits(given.parameters, expected.parameters));
    CHECK(same_bits(given.buffers, expected.buffers));
  };
  (check.template operator()<N>(), ...);
}

}  // namespace

TEST_CASE("batches are normalised on replicas as on one device", "[batch_norm]") {
  ls::data_parallel<classifier, 1, ls::reference<double>> one(optimizer);
  const trained expected = train(one);
  SECTION("reference, shards of several micro-shards") { check_replicas<small_passes, 1, 2, 3, 4, 8>(expected); }
  SECTION("cpu") { check_replicas<ls::cpu, 1, 2, 3, 4, 8>(expected); }
  SECTION("cpu, shards of several micro-shards") { check_replicas<small_cpu_passes, 1, 2, 3>(expected); }
}

TEST_CASE("normalised batches train to the same bits on 1, 2, 4 and 8 replicas", "[batch_norm]") {
  SECTION("reference, leaves of several micro-shards") { check_bits<small_passes, 2, 4, 8>(); }
  SECTION("cpu") { check_bits<ls::cpu, 2, 4, 8>(); }
  SECTION("and to the results of one device") {
    ls::data_parallel<classifier, 1, ls::reference<double>> one(optimizer);
    check_equal(train_reproducibly_with_buffers<small_passes, 2>(), train(one));
  }
}

TEST_CASE("accumulated batches are normalised one by one, and the step commits their statistics", "[batch_norm]") {
  using exact = ls::reference<double>;
  const auto first = draws<double>(1, 13 * 72);
  const auto second = draws<double>(2, 6 * 72);
  const auto first_targets = class_draws(3, 13, 3);
  const auto second_targets = class_draws(4, 6, 3);
  // Steps of learning rate 0 change the buffers alone, but key dropout by the step.
  using no_dropout = ls::model<ls::sequential<conv3<4>, ls::batch_norm2d<>, ls::relu, ls::flatten, ls::linear<3>,
                                              ls::batch_norm1d<ls::cumulative>>,
                               ls::input<2, 6, 6>, ls::cross_entropy>;
  ls::data_parallel<no_dropout, 1, exact> apart({.learning_rate = 0});
  ls::data_parallel<no_dropout, 3, exact> together({.learning_rate = 0});
  const auto untouched = as_doubles(together.buffers());
  const double loss = together.accumulate(batch<no_dropout>(first), first_targets);
  CHECK(as_doubles(together.buffers()) == untouched);
  CHECK(is_close(apart.step(batch<no_dropout>(first), first_targets), loss, {.relative = 1e-12}));
  auto expected = as_doubles(apart.gradients());
  static_cast<void>(apart.step(batch<no_dropout>(second), second_targets));
  const auto more = as_doubles(apart.gradients());
  for (std::size_t p = 0; p < expected.size(); ++p)
    for (std::size_t i = 0; i < expected[p].size(); ++i) expected[p][i] += more[p][i];
  static_cast<void>(together.step(batch<no_dropout>(second), second_targets));
  const auto given = as_doubles(together.gradients());
  for (std::size_t p = 0; p < expected.size(); ++p) CHECK(largest_difference(given[p], expected[p]) <= 1e-12);
  const auto buffers = as_doubles(together.buffers());
  const auto expected_buffers = as_doubles(apart.buffers());
  for (std::size_t p = 0; p < buffers.size(); ++p)
    CHECK(largest_difference(buffers[p], expected_buffers[p]) <= 1e-12 * largest_magnitude(expected_buffers[p]));
  CHECK(together.buffers().at("1.num_batches_tracked").values() == std::vector<double>{2});

  SECTION("and what is written in between counts") {
    static_cast<void>(together.accumulate(batch<no_dropout>(first), first_targets));
    const std::vector<double> written{1, 2, 3, 4};
    together.buffers().at("1.running_mean").assign(written);
    apart.buffers().at("1.running_mean").assign(written);
    static_cast<void>(together.step(batch<no_dropout>(second), second_targets));
    static_cast<void>(apart.step(batch<no_dropout>(second), second_targets));
    for (const auto& each : apart.buffers())
      CHECK(largest_difference(together.buffers().at(each.name()).values(), each.values()) <=
            1e-12 * largest_magnitude(each.values()));
  }

  SECTION("and initialize drops what waits") {
    static_cast<void>(together.accumulate(batch<no_dropout>(first), first_targets));
    together.initialize(ls::seed{0});
    apart.initialize(ls::seed{0});
    static_cast<void>(together.step(batch<no_dropout>(second), second_targets));
    static_cast<void>(apart.step(batch<no_dropout>(second), second_targets));
    CHECK(together.buffers().at("1.num_batches_tracked").values() == std::vector<double>{1});
    for (const auto& each : apart.buffers())
      CHECK(largest_difference(together.buffers().at(each.name()).values(), each.values()) <= 1e-12);
  }
}

TEST_CASE("a step in which a replica fails leaves parameters and buffers as they were", "[batch_norm]") {
  using model = ls::model<ls::sequential<ls::linear<6>, ls::batch_norm1d<>, ls::relu, ls::linear<6>, ls::relu,
                                         ls::batch_norm1d<>, ls::linear<2>>,
                          ls::input<3>, ls::mean_squared_error>;
  const auto x = draws<float>(1, 16 * 3);
  const auto targets = draws<float>(2, 16 * 2);
  ls::data_parallel<model, 4, failing> trainer({}, {}, {.pin = false, .devices = {1}});
  ls::data_parallel<model, 4, failing> undisturbed({}, {}, {.pin = false, .devices = {2}});
  const auto before = as_doubles(trainer.state());
  int failures = 0;
  for (int call = 0; call < 60; ++call) {
    failing::traps[1].set(call);
    bool thrown = false;
    try {
      static_cast<void>(trainer.step(batch<model>(x), targets));
    } catch (const ls::replica_error&) {
      thrown = true;
    }
    failing::traps[1].disarm();
    CHECK(thrown == (failing::traps[1].failed.load() != failed_call::none));
    failures += thrown ? 1 : 0;
    // The buffers are as before even where some replicas had made their part of the update.
    if (thrown) CHECK(trainer.buffers().at("1.num_batches_tracked").values() == std::vector<float>{0});
    if (!thrown || failing::traps[1].failed.load() == failed_call::update) trainer.initialize(ls::seed{0});
    CHECK(as_doubles(trainer.state()) == before);
  }
  CHECK(failures > 20);
  CHECK(trainer.step(batch<model>(x), targets) == undisturbed.step(batch<model>(x), targets));
  CHECK(as_doubles(trainer.state()) == as_doubles(undisturbed.state()));
}

TEST_CASE("a layer that is tied on both sides of a normalisation", "[batch_norm]") {
  using shared = ls::tied<"shared", ls::linear<4>>;
  using model = ls::model<ls::sequential<ls::linear<4>, shared, ls::batch_norm1d<>, ls::relu, shared, ls::linear<2>>,
                          ls::input<3>, ls::mean_squared_error>;
  const auto x = draws<double>(1, 21 * 3);
  const auto targets = draws<double>(2, 21 * 2);
  ls::data_parallel<model, 1, ls::reference<double>> one;
  const double loss = one.step(batch<model>(x), targets);
  const auto expected = as_doubles(one.gradients());
  const auto check = [&](auto& trainer) {
    CHECK(is_close(trainer.step(batch<model>(x), targets), loss, {.relative = 1e-12}));
    const auto given = as_doubles(trainer.gradients());
    for (std::size_t p = 0; p < expected.size(); ++p) {
      INFO("gradient " << p);
      CHECK(largest_difference(given[p], expected[p]) <= 1e-12);
    }
  };
  ls::data_parallel<model, 3, ls::reference<double>> three;
  check(three);
  ls::data_parallel<model, 8, ls::reference<double>> eight;
  check(eight);
}
