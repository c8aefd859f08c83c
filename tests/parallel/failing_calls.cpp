// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <atomic>
#include <cstddef>
#include <stdexcept>
#include <string_view>

#include "parallel/failing_backend.hpp"
#include "parallel/one_device.hpp"

/// \file
/// A replica that fails between two meetings, at a fence, or in the update.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

const auto x = draws<float>(1, 16 * 6);
const auto targets = draws<float>(2, 16 * 3);

/// Fences that throw when they are told to.
struct failing_fences : ls::reference<float> {
  static constexpr std::string_view name = "failing fences";
  static inline std::atomic<int> holds_left{-1};

  struct fence {
    template <class Context>
    explicit fence(Context&) {}
    template <class Context>
    void record(Context&) noexcept {}
    template <class Context>
    void hold(Context&) const {
      if (holds_left.load() >= 0 && holds_left.fetch_sub(1) == 0) throw std::runtime_error("a fence that fails");
    }
  };
};

}  // namespace

TEST_CASE("a replica that fails in a meeting while others still leave the last one keeps none waiting",
          "[data_parallel]") {
  ls::data_parallel<small_regression, 4, failing> trainer({}, {}, {.pin = false, .devices = {1}, .max_norm = 1.0});
  const auto before = all_values(trainer.parameters());
  for (int i = 0; i < 200; ++i) {
    // The calls of a step of four replicas up to the squares: any of them.
    failing::traps[1].set(i % 40);
    bool thrown = false;
    try {
      static_cast<void>(trainer.step(batch<small_regression>(x), targets));
    } catch (const ls::replica_error&) {
      thrown = true;
    }
    failing::traps[1].disarm();
    CHECK(thrown == (failing::traps[1].failed.load() != failed_call::none));
    if (!thrown || failing::traps[1].failed.load() == failed_call::update) trainer.initialize(ls::seed{0});
    CHECK(all_values(trainer.parameters()) == before);
  }
}

TEST_CASE("a fence that fails is a replica's failure, and changes nothing", "[data_parallel]") {
  ls::data_parallel<small_regression, 3, failing_fences> trainer({}, {}, {.pin = false, .max_norm = 1.0});
  ls::data_parallel<small_regression, 3, failing_fences> undisturbed({}, {}, {.pin = false, .max_norm = 1.0});
  const auto before = all_values(trainer.parameters());
  // Two meetings, in each of which three replicas wait for two others.
  for (int call = 0; call < 12; ++call) {
    failing_fences::holds_left = call;
    CHECK_THROWS_WITH(trainer.step(batch<small_regression>(x), targets), Catch::Contains("a fence that fails"));
    failing_fences::holds_left = -1;
    CHECK(all_values(trainer.parameters()) == before);
  }
  CHECK(trainer.step(batch<small_regression>(x), targets) == undisturbed.step(batch<small_regression>(x), targets));
  CHECK(all_values(trainer.parameters()) == all_values(undisturbed.parameters()));
}

TEST_CASE("after an update that only some replicas made, a trainer says so until it is whole again",
          "[data_parallel]") {
  ls::data_parallel<small_regression, 2, failing> trainer({}, {}, {.pin = false, .devices = {1}});
  const auto step = [&] { return trainer.step(batch<small_regression>(x), targets); };
  const auto evaluate = [&] { return trainer.evaluate(batch<small_regression>(x), targets).loss(); };
  const double expected = evaluate();
  for (int i = 0; i < 100; ++i) {
    failing::traps[1].set(i);
    try {
      static_cast<void>(step());
    } catch (const ls::replica_error&) {
    }
    failing::traps[1].disarm();
    if (failing::traps[1].failed.load() == failed_call::update) break;
    trainer.initialize(ls::seed{0});
  }
  REQUIRE(failing::traps[1].failed.load() == failed_call::update);
  CHECK_THROWS_WITH(step(), Catch::Contains("an update in which a replica failed"));
  CHECK_THROWS_AS(evaluate(), ls::value_error);
  CHECK_THROWS_AS(trainer.forward(batch<small_regression>(x)), ls::value_error);
  CHECK(trainer.steps() == 0);
  trainer.initialize(ls::seed{0});
  CHECK(evaluate() == expected);
  CHECK(step() > 0);
}
