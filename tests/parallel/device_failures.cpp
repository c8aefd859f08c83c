// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "parallel/reproducible.hpp"
#include "support/queued_backend.hpp"
#include "support/user_layer.hpp"

/// \file
/// Replicas on devices that fail: where a device is entered, in the update, and beside a watchdog that is late.

namespace {

using namespace lockstep_test;
using queued_detail::faults;

using model = ls::model<ls::sequential<ls::linear<4>, ls::relu, ls::linear<2>>, ls::input<3>, ls::mean_squared_error>;
constexpr ls::sgd momentum{.learning_rate = 0.1F, .momentum = 0.9F};
const auto x = draws<float>(1, 8 * 3);
const auto t = draws<float>(2, 8 * 2);

}  // namespace

namespace {

/// Makes entry number n to device 1 fail in a step. Returns the replica that failed, -1 for the caller's thread, -2
/// when the step has fewer entries.
template <class Trainer>
int fail_entry(Trainer& trainer, int n) {
  faults::entries_left = n;
  faults::entering = 1;
  int replica = -2;
  try {
    trainer.step(batch<model>(x), t);
  } catch (const ls::replica_error& e) {
    replica = e.replica();
    CHECK_THAT(e.what(), Catch::Contains("a device that cannot be entered"));
  } catch (const std::runtime_error& e) {
    replica = -1;
    CHECK(e.what() == std::string("a device that cannot be entered"));
  }
  faults::entering = -1;
  return replica;
}

}  // namespace

TEST_CASE("a device that cannot be entered is its replica's failure", "[asynchronous]") {
  const int steps = GENERATE(0, 4);  // before, so that the work is recorded
  int failures = 0;
  for (int n = 0, replica = 0; replica != -2; ++n) {
    ls::data_parallel<model, 2, queued> trainer(momentum, {}, {.devices = {0, 1}});
    for (int i = 0; i < steps; ++i) trainer.step(batch<model>(x), t);
    replica = fail_entry(trainer, n);
    CHECK(replica != 0);
    failures += replica == 1;
  }
  CHECK(failures > 0);
}

TEST_CASE("replicas that share a device which cannot be entered go on afterwards", "[asynchronous]") {
  ls::data_parallel<model, 4, queued> trainer(momentum, {}, {.devices = {0, 0, 1, 1}});
  ls::data_parallel<model, 4, queued> undisturbed(momentum, {}, {.devices = {0, 0, 1, 1}});
  int failures = 0;
  for (int n = 0, replica = 0; replica != -2; ++n) {
    replica = fail_entry(trainer, n);
    CHECK((replica < 0 || replica > 1));
    failures += replica > 1;
    if (replica != -2) CHECK(trainer.step(batch<model>(x), t) == undisturbed.step(batch<model>(x), t));
  }
  CHECK(failures > 1);
  static_cast<void>(undisturbed.step(batch<model>(x), t));  // as the last one, in which nothing failed
  CHECK(same_bits(all_values(trainer.parameters()), all_values(undisturbed.parameters())));
}

namespace {

template <int N>
void check_half_update(const std::vector<int>& devices, int failing_device, int steps) {
  CAPTURE(N, failing_device, steps);
  ls::data_parallel<model, N, queued> trainer(momentum, {}, {.devices = devices});
  for (int i = 0; i < steps; ++i) trainer.step(batch<model>(x), t);
  faults::update = failing_device;
  CHECK_THROWS_WITH(trainer.step(batch<model>(x), t), Catch::Contains("an update that fails"));
  REQUIRE(faults::update == -1);
  CHECK_THROWS_WITH(trainer.step(batch<model>(x), t), Catch::Contains("an update in which a replica failed"));
  CHECK_THROWS_AS(trainer.evaluate(batch<model>(x), t), ls::value_error);
  CHECK_THROWS_AS(trainer.forward(batch<model>(x)), ls::value_error);
  CHECK(trainer.steps() == steps);
  trainer.initialize(ls::seed{0});
  CHECK_NOTHROW(trainer.evaluate(batch<model>(x), t));
}

}  // namespace

TEST_CASE("an update that fails on one device leaves a trainer that says so", "[asynchronous]") {
  const int steps = GENERATE(0, 1, 4);  // the first runs as it is, later ones are recorded
  check_half_update<1>({}, 0, steps);
  check_half_update<2>({0, 1}, 0, steps);
  check_half_update<2>({0, 1}, 1, steps);
  check_half_update<4>({0, 1, 2, 3}, 2, steps);
  check_half_update<4>({0, 0, 1, 1}, 1, steps);
}

namespace {

/// Hands on what arrives, on a device that waits there, when it is told to, until a watchdog has called.
struct awaits_watchdog : same_extents {
  static inline std::atomic<bool> armed{false}, called{false};

  static constexpr std::string_view kind = "awaits watchdog";
  template <class B, ls::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void forward(context& c, const ls::pass&, const value* from, const value*, value* to) {
      B::copy(c, count_, from, to);
      c.submit([] {
        while (armed && !called) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    }
    void backward(context& c, const ls::pass&, const ls::backward_arguments<B>& a) {
      if constexpr (T.input_gradient) B::copy(c, count_, static_cast<const value*>(a.dy), a.dx);
    }

   private:
    std::int64_t count_;
  };
};

}  // namespace

TEST_CASE("a step that ends while its watchdog still reports is not given up, nor are those after it",
          "[asynchronous]") {
  using waiting =
      ls::model<ls::sequential<ls::linear<4>, awaits_watchdog, ls::linear<2>>, ls::input<3>, ls::mean_squared_error>;
  std::atomic<bool> step_has_ended{false}, reported{false};
  ls::data_parallel<waiting, 2, queued> trainer(momentum, {},
                                                {.devices = {0, 1}, .time_limit = 0.2, .on_stall = [&](const auto&) {
                                                   awaits_watchdog::called = true;
                                                   while (!step_has_ended) std::this_thread::yield();
                                                   reported = true;
                                                 }});
  trainer.step(batch<waiting>(x), t);
  awaits_watchdog::armed = true;
  CHECK_NOTHROW(trainer.step(batch<waiting>(x), t));
  awaits_watchdog::armed = false;
  step_has_ended = true;
  while (!reported) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for a watchdog that would give up now
  for (int i = 0; i < 3; ++i) CHECK_NOTHROW(trainer.step(batch<waiting>(x), t));
}
