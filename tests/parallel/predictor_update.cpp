// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "parallel/predictor_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

// y = b1 + b2 once the weights are zero and one: 0 or 1 when both are of one set of parameters, a half when not.
using halves = ls::model<ls::sequential<ls::linear<32>, ls::linear<32>>, ls::input<32>>;
using half_trainer = ls::data_parallel<halves, 1>;

void set_outputs(half_trainer& trainer, float y) {
  std::vector<float> identity(32 * 32, 0.F);
  for (std::size_t i = 0; i < 32; ++i) identity[i * 33] = 1.F;
  trainer.parameters().at("0.weight").assign(std::vector<float>(32 * 32, 0.F));
  trainer.parameters().at("0.bias").assign(std::vector<float>(32, y / 2));
  trainer.parameters().at("1.weight").assign(identity);
  trainer.parameters().at("1.bias").assign(std::vector<float>(32, y / 2));
}

}  // namespace

TEST_CASE("parameters replaced while serving are never seen in part", "[predictor]") {
  half_trainer zeros;
  half_trainer ones;
  set_outputs(zeros, 0);
  set_outputs(ones, 1);
  ls::predictor<halves, 2> server(zeros, {.max_batch = 4, .latency = std::chrono::microseconds{50}});
  const auto x = draws<float>(1, 64 * 32);

  std::atomic<bool> done{false};
  std::atomic<int> mixed{0};
  std::atomic<int> all_zero{0};
  std::atomic<int> all_one{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&, t] {
      // From one sample to more than all replicas take at once, so that a request spans many batches.
      for (int i = t; !done.load(); ++i) {
        const std::int64_t count = i % 3 == 0 ? 64 : 1 + i % 5;
        const auto y = server.predict(part_of<halves>(x, 0, count));
        const bool zero = std::all_of(y.begin(), y.end(), [](float v) { return v == 0.F; });
        const bool one = std::all_of(y.begin(), y.end(), [](float v) { return v == 1.F; });
        ++(zero ? all_zero : one ? all_one : mixed);
      }
    });

  int stale = 0;
  for (int i = 0; i < 200 || all_zero.load() == 0 || all_one.load() == 0; ++i) {
    server.update_from(i % 2 == 0 ? ones : zeros);
    const auto y = server.predict(part_of<halves>(x, 0, 1));
    if (y(0, 0) != (i % 2 == 0 ? 1.F : 0.F)) ++stale;
  }
  done.store(true);
  for (auto& caller : callers) caller.join();
  CHECK(mixed.load() == 0);
  CHECK(stale == 0);
}

TEST_CASE("several threads may replace the parameters", "[predictor]") {
  ls::predictor<halves, 2> server({.max_batch = 4, .latency = std::chrono::microseconds{0}});
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  std::vector<std::thread> writers;
  for (int t = 0; t < 3; ++t)
    writers.emplace_back([&] {
      for (int i = 0; i < 50; ++i)
        server.update([&](auto&) {
          if (inside.fetch_add(1) != 0) ++overlaps;
          std::this_thread::yield();
          inside.fetch_sub(1);
        });
    });
  const auto x = draws<float>(2, 9 * 32);
  for (int i = 0; i < 50; ++i) static_cast<void>(server.predict(batch<halves>(x)));
  for (auto& writer : writers) writer.join();
  CHECK(overlaps.load() == 0);
  CHECK(server.statistics().requests == 50);
}

TEST_CASE("an update waits for a request that was begun, and holds back the others", "[predictor]") {
  ls::predictor<gated, 1> server({.max_batch = 2, .latency = std::chrono::microseconds{0}, .warm_up = false});
  const auto set = [](auto& self, float y) {
    self.parameters().at("1.weight").assign(std::vector<float>(12, 0.F));
    self.parameters().at("1.bias").assign(std::vector<float>(3, y));
  };
  server.update([&](auto& self) { set(self, 1.F); });
  const auto x = draws<float>(3, 6 * 4);
  const shut_gate door;
  auto begun = server.submit(batch<gated>(x));  // three batches
  door.await(1);
  auto waiting = server.submit(part_of<gated>(x, 0, 1));
  std::atomic<bool> updated{false};
  std::atomic<pid_t> writing{0};
  std::thread writer([&] {
    writing.store(gettid());
    server.update([&](auto& self) { set(self, 2.F); });
    updated.store(true);
  });
  while (writing.load() == 0) std::this_thread::yield();
  await_sleep(writing.load());
  CHECK_FALSE(updated.load());
  door.open();
  REQUIRE(is_answered(begun));
  REQUIRE(is_answered(waiting));
  writer.join();
  for (const float y : begun.get()) CHECK(y == 1.F);
  for (const float y : waiting.get()) CHECK(y == 2.F);
}

TEST_CASE("an update that throws lets the predictor serve on", "[predictor]") {
  half_trainer ones;
  set_outputs(ones, 1);
  ls::predictor<halves, 2> server(ones, {.latency = std::chrono::microseconds{0}});
  CHECK_THROWS_AS(server.update([](auto&) { throw std::runtime_error("no"); }), std::runtime_error);
  const auto x = draws<float>(4, 32);
  for (const float y : server.predict(batch<halves>(x))) CHECK(y == 1.F);
}

TEST_CASE("parameters of another model are refused", "[predictor]") {
  using other_names =
      ls::model<ls::sequential<ls::named<"a", ls::linear<32>>, ls::named<"b", ls::linear<32>>>, ls::input<32>>;
  using other_shape = ls::model<ls::sequential<ls::linear<32>, ls::linear<31>>, ls::input<32>>;
  using fewer = ls::model<ls::sequential<ls::linear<32>>, ls::input<32>>;
  using more = ls::model<ls::sequential<ls::linear<32>, ls::linear<32>, ls::linear<32>>, ls::input<32>>;
  ls::predictor<halves, 1> server;
  const auto before = all_values(server.parameters());
  const auto refused = [&]<class Model>(std::type_identity<Model>) {
    return message_of<ls::error>([&] { server.update_from(ls::data_parallel<Model, 1>()); });
  };
  CHECK_THAT(refused(std::type_identity<other_names>{}), Catch::Contains("expected 0.weight, got a.weight"));
  CHECK_THAT(refused(std::type_identity<other_shape>{}),
             Catch::Contains("expected 1.weight as 32x32") && Catch::Contains("got 31x32"));
  CHECK_THAT(refused(std::type_identity<fewer>{}), Catch::Contains("expected 1.weight, got no further parameter"));
  CHECK_THAT(refused(std::type_identity<more>{}), Catch::Contains("expected no further parameter, got 2.weight"));
  CHECK(all_values(server.parameters()) == before);
  CHECK_THROWS_AS((ls::predictor<halves, 1>(ls::data_parallel<fewer, 1>())), ls::value_error);
}
