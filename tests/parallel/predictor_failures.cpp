// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "parallel/predictor_support.hpp"
#include "parallel/trap.hpp"
#include "support/user_layer.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using model = trapped<pass_kind::forward>;

/// Samples of which the given ones make the model throw.
std::vector<float> samples_with_traps(std::int64_t samples, const std::vector<std::size_t>& at) {
  auto x = draws<float>(1, samples * 5);
  for (const std::size_t s : at) x[s * 5] = marker;
  return x;
}

/// Cannot even run on zeros.
struct broken : same_extents {
  static constexpr std::string_view kind = "broken";
  static constexpr ls::layer_traits traits{.backward_reads_input = false};

  template <class B, ls::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t) {}
    void forward(context&, const ls::pass&, const value*, const value*, value*) { throw std::domain_error("broken"); }
    void backward(context&, const ls::pass&, const ls::backward_arguments<B>&) {}
  };
};
using broken_model = ls::model<ls::sequential<broken, ls::linear<3>>, ls::input<4>>;

}  // namespace

TEST_CASE("a replica's exception reaches the callers of its batch, and no others", "[predictor]") {
  ls::data_parallel<model, 1> trainer;
  make_trap_certain(trainer);
  const auto x = samples_with_traps(12, {5});
  auto good = x;
  good[5 * 5] = 0;
  const auto expected = one_by_one(trainer, good);
  std::vector<std::future<ls::predictor<model, 2>::output_tensor>> answers;
  {
    ls::predictor<model, 2> server(trainer, {.max_batch = 4, .latency = never});
    // All wait before the first is taken, so that they are joined by fours.
    server.update([&](auto& paused) {
      std::thread([&] {
        for (std::int64_t s = 0; s < 12; ++s) answers.push_back(paused.submit(part_of<model>(x, s, 1)));
      }).join();
    });
    for (const auto& answer : answers) REQUIRE(is_answered(answer));
    CHECK(server.statistics().requests == 12);
    CHECK(server.statistics().batches == 3);
  }
  // Looked at once the predictor's threads have ended: a thread sanitizer cannot see how the standard library counts
  // the owners of an exception.
  for (std::size_t s = 0; s < 12; ++s) {
    INFO("sample " << s);
    if (s / 4 == 1) {
      try {
        static_cast<void>(answers[s].get());
        FAIL("nothing was thrown");
      } catch (const ls::replica_error& error) {
        CHECK((error.replica() == 0 || error.replica() == 1));
        CHECK_THAT(error.what(), Catch::Contains("a value above 500"));
        CHECK_THROWS_AS(std::rethrow_if_nested(error), std::out_of_range);
      }
    } else {
      const auto at = static_cast<std::ptrdiff_t>(s) * 3;
      CHECK(relative_difference(vector_of(answers[s].get()),
                                std::vector<float>(expected.begin() + at, expected.begin() + at + 3)) <= 1e-5);
    }
  }
}

TEST_CASE("threads that wait get the exception of their batch, and the predictor serves on", "[predictor]") {
  ls::data_parallel<model, 1> trainer;
  make_trap_certain(trainer);
  ls::predictor<model, 2> server(trainer, {.max_batch = 4, .latency = std::chrono::milliseconds{1}});
  const auto bad = samples_with_traps(11, {9});
  const auto good = samples_with_traps(11, {});
  // One part of a request that was cut is enough to lose it.
  CHECK_THROWS_AS(server.predict(batch<model>(bad)), ls::replica_error);
  CHECK(relative_difference(vector_of(server.predict(batch<model>(good))), one_by_one(trainer, good)) <= 1e-5);

  std::vector<std::thread> callers;
  // Kept until all threads have ended: a thread sanitizer cannot see how the standard library counts the owners of an
  // exception.
  std::vector<std::vector<std::exception_ptr>> thrown(4);
  for (std::size_t t = 0; t < 4; ++t)
    callers.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) try {
          static_cast<void>(server.predict(part_of<model>(t == 0 ? bad : good, 9, 1)));
        } catch (...) {
          thrown[t].push_back(std::current_exception());
        }
    });
  for (auto& caller : callers) caller.join();
  CHECK(thrown[0].size() == 50);
  for (const auto& own : thrown)
    for (const auto& error : own) {
      CHECK_THROWS_AS(std::rethrow_exception(error), ls::replica_error);
      CHECK_THROWS_WITH(std::rethrow_exception(error), Catch::Contains("a value above 500"));
    }
  CHECK(relative_difference(vector_of(server.predict(batch<model>(good))), one_by_one(trainer, good)) <= 1e-5);
}

TEST_CASE("requests are refused once too many samples wait", "[predictor]") {
  ls::predictor<gated, 1> server(
      {.max_batch = 1, .latency = std::chrono::microseconds{0}, .max_pending = 3, .warm_up = false});
  const auto x = draws<float>(2, 5 * 4);
  const shut_gate door;
  std::vector<std::future<decltype(server)::output_tensor>> answers;
  answers.push_back(server.submit(part_of<gated>(x, 0, 1)));
  door.await(1);
  answers.push_back(server.submit(part_of<gated>(x, 1, 1)));
  answers.push_back(server.submit(part_of<gated>(x, 2, 1)));
  answers.push_back(server.submit(part_of<gated>(x, 3, 2)));  // two wait: room for a request of any size
  CHECK_THROWS_AS(server.submit(part_of<gated>(x, 0, 1)), ls::value_error);
  CHECK_THROWS_WITH(server.predict(part_of<gated>(x, 0, 1)),
                    Catch::Contains("fewer than 3 samples that wait") && Catch::Contains("got 4"));
  CHECK(server.statistics().refused == 2);
  door.open();
  for (const auto& answer : answers) CHECK(is_answered(answer));
  CHECK(server.predict(part_of<gated>(x, 0, 5)).samples() == 5);
  CHECK(server.statistics().refused == 2);
  CHECK(server.statistics().requests == 5);
}

TEST_CASE("outputs of another length are refused", "[predictor]") {
  ls::predictor<model, 1> server;
  const auto x = samples_with_traps(4, {});
  decltype(server)::output_tensor rows(3);
  CHECK_THROWS_AS(server.predict(batch<model>(x), rows.view()), ls::shape_error);
  CHECK_THROWS_WITH(server.predict(batch<model>(x), rows.view()),
                    Catch::Contains("4 rows") && Catch::Contains("got 3"));
  CHECK(server.statistics().requests == 0);
}

TEST_CASE("a predictor that cannot warm up does not come to be", "[predictor]") {
  CHECK_THROWS_WITH((ls::predictor<broken_model, 3>()), Catch::Contains("replica 0") && Catch::Contains("broken"));
  CHECK_THROWS_AS((ls::predictor<broken_model, 1>()), ls::replica_error);
  ls::predictor<broken_model, 1> cold({.latency = std::chrono::microseconds{0}, .warm_up = false});
  const auto x = draws<float>(3, 4);
  CHECK_THROWS_AS(cold.predict(batch<broken_model>(x)), ls::replica_error);
}

TEST_CASE("a predictor that is destroyed answers those that wait, at once", "[predictor]") {
  using trainer_type = ls::data_parallel<gated, 1>;
  trainer_type trainer;
  const auto x = draws<float>(5, 4 * 4);
  const auto expected = one_by_one(trainer, x);
  for (int round = 0; round < 20; ++round) {
    const shut_gate door;
    auto server = std::make_unique<ls::predictor<gated, 2>>(
        trainer, ls::predictor_options{.max_batch = 16, .latency = never, .warm_up = false});
    auto first = server->submit(part_of<gated>(x, 0, 1));
    door.await(1);  // one replica works, so that what follows waits for company
    auto late = server->submit(part_of<gated>(x, 1, 2));
    auto blocked = std::async(std::launch::async, [&] { return vector_of(server->predict(part_of<gated>(x, 3, 1))); });
    while (server->statistics().waiting != 3) std::this_thread::yield();
    std::thread destroyer([&] { delete server.release(); });
    door.await(2);  // hangs unless they are taken
    door.open();
    REQUIRE(is_answered(first));
    REQUIRE(is_answered(late));
    REQUIRE(is_answered(blocked));
    destroyer.join();
    auto joined = vector_of(first.get());
    for (const float y : late.get()) joined.push_back(y);
    for (const float y : blocked.get()) joined.push_back(y);
    CHECK(relative_difference(joined, expected) <= 1e-5);
  }
}

TEST_CASE("a predictor that is being destroyed refuses further requests", "[predictor]") {
  auto server = std::make_unique<ls::predictor<gated, 1>>(
      ls::predictor_options{.max_batch = 2, .latency = never, .max_pending = 1'000'000, .warm_up = false});
  auto* const dying = server.get();
  const auto x = draws<float>(4, 2 * 4);
  std::vector<std::future<ls::predictor<gated, 1>::output_tensor>> answers;
  const shut_gate door;
  answers.push_back(dying->submit(batch<gated>(x)));
  door.await(1);  // the shut gate keeps the destructor from ending while requests are tried
  std::thread destroyer([&] { server.reset(); });
  std::string refusal;
  const auto limit = std::chrono::steady_clock::now() + patience;
  while (refusal.empty() && std::chrono::steady_clock::now() < limit) try {
      answers.push_back(dying->submit(part_of<gated>(x, 0, 1)));
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    } catch (const ls::value_error& error) {
      refusal = error.what();
    }
  door.open();
  destroyer.join();
  CHECK_THAT(refusal, Catch::Contains("while it is being destroyed"));
  for (auto& answer : answers) {
    REQUIRE(is_answered(answer));
    CHECK_NOTHROW(answer.get());
  }
}
