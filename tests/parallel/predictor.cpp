// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "data/data_support.hpp"
#include "parallel/predictor_support.hpp"
#include "support/queued_backend.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::conv2d<3, 3>, ls::relu, ls::flatten, ls::dropout<>, ls::linear<5>>;
using classifier = ls::model<net, ls::input<2, 5, 5>, ls::cross_entropy>;

template <class B, int N>
void check_any_size() {
  using value = typename B::value_type;
  ls::data_parallel<classifier, 1, B> trainer;
  trainer.initialize(ls::seed{9});
  ls::predictor<classifier, N, B> server(trainer, {.max_batch = 12, .latency = std::chrono::microseconds{0}});
  const auto x = draws<value>(1, 300 * 50);
  const auto expected = one_by_one(trainer, x);
  for (const std::int64_t samples : {1, 2, 3, 5, 7, 9, 11, 12, 13, 31, 300}) {
    INFO(samples << " samples, " << N << " replicas");
    const std::vector<value> wanted(expected.begin(), expected.begin() + samples * 5);
    const auto y = server.predict(part_of<classifier>(x, 0, samples));
    REQUIRE(y.samples() == samples);
    CHECK(relative_difference(vector_of(y), wanted) <= tolerance<value>);
    typename decltype(server)::output_tensor given(samples);
    server.predict(part_of<classifier>(x, 0, samples), given.view());
    CHECK(relative_difference(vector_of(given), wanted) <= tolerance<value>);
    auto later = server.submit(part_of<classifier>(x, 0, samples));
    CHECK(relative_difference(vector_of(later.get()), wanted) <= tolerance<value>);
  }
  CHECK(server.predict(part_of<classifier>(x, 0, 0)).samples() == 0);
  CHECK(server.submit(part_of<classifier>(x, 0, 0)).get().samples() == 0);
  const auto all = server.statistics();
  CHECK(all.requests == 3 * 11);
  CHECK(all.samples == 3 * (1 + 2 + 3 + 5 + 7 + 9 + 11 + 12 + 13 + 31 + 300));
  CHECK(all.largest_batch <= 12);
  CHECK(all.mean_latency > 0);
}

template <class B, int N>
void check_many_threads() {
  using value = typename B::value_type;
  constexpr int threads = 8;
  constexpr int rounds = 60;
  ls::data_parallel<classifier, 1, B> trainer;
  const auto x = draws<value>(1, 64 * 50);
  const auto expected = one_by_one(trainer, x);
  ls::predictor<classifier, N, B> server(trainer, {.max_batch = 8, .latency = std::chrono::milliseconds{2}});

  // What waits together is joined: here as long as an update holds it back, below as threads happen to come.
  std::vector<std::future<typename decltype(server)::output_tensor>> held;
  server.update([&](auto& paused) {
    std::thread([&] {
      for (std::int64_t s = 0; s < 16; ++s) held.push_back(paused.submit(part_of<classifier>(x, s, 1)));
    }).join();
  });
  for (std::size_t s = 0; s < held.size(); ++s) {
    const auto at = static_cast<std::ptrdiff_t>(s) * 5;
    const std::vector<value> wanted(expected.begin() + at, expected.begin() + at + 5);
    CHECK(relative_difference(vector_of(held[s].get()), wanted) <= 10 * tolerance<value>);
  }
  CHECK(server.statistics().batches == 2);
  CHECK(server.statistics().largest_batch == 8);

  struct answer {
    std::int64_t first, count;
    std::vector<value> y;
  };
  std::vector<std::vector<answer>> answers(threads);
  std::vector<std::thread> callers;
  for (int t = 0; t < threads; ++t)
    callers.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        // Mostly single samples, and now and then more than a replica takes at once.
        const std::int64_t count = i % 10 == 9 ? 19 : 1 + (t + i) % 3 / 2 * 2;
        const std::int64_t first = (t * 31 + i * 7) % (64 - count);
        const auto images = part_of<classifier>(x, first, count);
        const auto y = i % 2 == 0 ? server.predict(images) : server.submit(images).get();
        answers[static_cast<std::size_t>(t)].push_back({first, count, vector_of(y)});
      }
    });
  for (auto& caller : callers) caller.join();

  std::int64_t samples = 16;
  for (const auto& own : answers) {
    REQUIRE(own.size() == rounds);
    for (const auto& [first, count, y] : own) {
      const std::vector<value> wanted(expected.begin() + first * 5, expected.begin() + (first + count) * 5);
      CHECK(relative_difference(y, wanted) <= 10 * tolerance<value>);
      samples += count;
    }
  }
  const auto all = server.statistics();
  CHECK(all.requests == 16 + threads * rounds);
  CHECK(all.refused == 0);
  CHECK(all.samples == samples);
  CHECK(all.batches >= samples / 8);
  CHECK(all.largest_batch == 8);
}

}  // namespace

TEST_CASE("a predictor gives the outputs of one device, for a batch of any size", "[predictor]") {
  check_any_size<ls::cpu, 1>();
  check_any_size<ls::cpu, 3>();
  check_any_size<ls::reference<double>, 2>();
}

TEST_CASE("a predictor serves from memory that the host cannot read, and replays what it has run", "[predictor]") {
  const int before = queued_detail::replays;
  check_any_size<queued, 1>();
  check_any_size<queued, 3>();
  check_many_threads<queued, 2>();
  CHECK(queued_detail::replays > before);
}

TEST_CASE("a predictor answers many threads, and joins their requests", "[predictor]") {
  check_many_threads<ls::cpu, 2>();
  check_many_threads<ls::reference<double>, 3>();
}

TEST_CASE("a batch of the same shape gives the bits of a trainer's forward", "[predictor]") {
  ls::data_parallel<classifier, 1> trainer;
  ls::predictor<classifier, 2> server(trainer, {.latency = std::chrono::microseconds{0}});
  const auto x = draws<float>(2, 32 * 50);
  for (const std::int64_t samples : {1, 2, 4, 8, 16, 32}) {
    INFO(samples << " samples");
    const auto images = part_of<classifier>(x, 0, samples);
    CHECK(vector_of(server.predict(images)) == vector_of(trainer.forward(images)));
  }
}

TEST_CASE("requests are joined when a batch is full, whatever the latency", "[predictor]") {
  ls::predictor<gated, 2> server({.max_batch = 16, .latency = never, .warm_up = false});
  const auto x = draws<float>(3, 17 * 4);
  const shut_gate door;
  std::vector<std::future<decltype(server)::output_tensor>> answers;
  answers.push_back(server.submit(part_of<gated>(x, 16, 1)));
  door.await(1);  // one replica works, so that the other may wait for company
  for (std::int64_t s = 0; s < 15; s += 3) answers.push_back(server.submit(part_of<gated>(x, s, 3)));
  std::this_thread::sleep_for(std::chrono::milliseconds{50});
  CHECK(server.statistics().waiting == 15);
  answers.push_back(server.submit(part_of<gated>(x, 15, 1)));
  door.await(2);  // hangs unless the full batch is taken
  CHECK(server.statistics().waiting == 0);
  door.open();
  for (const auto& answer : answers) REQUIRE(is_answered(answer));
  const auto all = server.statistics();
  CHECK(all.requests == 7);
  CHECK(all.batches == 2);
  CHECK(all.largest_batch == 16);
}

TEST_CASE("a lone request never waits", "[predictor]") {
  const auto x = draws<float>(4, 50);
  const auto check = [&](const auto& server) {
    for (int i = 0; i < 3; ++i) {
      CHECK(is_answered(server.submit(batch<classifier>(x))));
      static_cast<void>(server.predict(batch<classifier>(x)));  // hangs where it waits
    }
    CHECK(server.statistics().batches == 6);
  };
  check(ls::predictor<classifier, 1>({.max_batch = 16, .latency = never}));
  check(ls::predictor<classifier, 3>({.max_batch = 16, .latency = never}));
}

TEST_CASE("while another replica works, a request waits as long as the latency says, and no longer", "[predictor]") {
  constexpr std::chrono::milliseconds latency{40};
  ls::predictor<gated, 2> server({.max_batch = 16, .latency = latency, .warm_up = false});
  const auto x = draws<float>(4, 4 * 4);
  const shut_gate door;
  std::vector<std::future<decltype(server)::output_tensor>> answers;
  answers.push_back(server.submit(part_of<gated>(x, 0, 1)));
  door.await(1);
  const auto begin = std::chrono::steady_clock::now();
  // What comes in time joins it.
  for (std::int64_t s = 1; s < 4; ++s) answers.push_back(server.submit(part_of<gated>(x, s, 1)));
  door.await(2);
  const auto waited = std::chrono::steady_clock::now() - begin;
  CHECK(waited >= latency);
  CHECK(waited < patience / 4);
  door.open();
  for (const auto& answer : answers) REQUIRE(is_answered(answer));
}

TEST_CASE("what waits for company starts once the last replica that works is done", "[predictor]") {
  ls::predictor<gated, 2> server({.max_batch = 16, .latency = never, .warm_up = false});
  const auto x = draws<float>(5, 3 * 4);
  const shut_gate door;
  std::vector<std::future<decltype(server)::output_tensor>> answers;
  answers.push_back(server.submit(part_of<gated>(x, 0, 1)));
  door.await(1);
  for (std::int64_t s = 1; s < 3; ++s) answers.push_back(server.submit(part_of<gated>(x, s, 1)));
  door.open();
  for (const auto& answer : answers) REQUIRE(is_answered(answer));
  CHECK(server.statistics().batches == 2);
  CHECK(server.statistics().largest_batch == 2);
}

TEST_CASE("a const predictor made from a const trainer predicts from any thread", "[predictor]") {
  ls::data_parallel<classifier, 2> trainer;
  trainer.initialize(ls::seed{21});
  const auto x = draws<float>(10, 8 * 50);
  const auto expected = one_by_one(trainer, x);
  const auto& unchanged = trainer;
  const ls::predictor<classifier, 2> server(unchanged);
  // The trainer goes on; the predictor keeps what it was made from.
  static_cast<void>(trainer.step(batch<classifier>(x), class_draws(11, 8, 5)));
  std::vector<std::vector<float>> given(4);
  std::vector<std::thread> callers;
  for (auto& own : given)
    callers.emplace_back([&] {
      for (int i = 0; i < 20; ++i) own = vector_of(server.predict(batch<classifier>(x)));
    });
  for (auto& caller : callers) caller.join();
  for (const auto& own : given) CHECK(relative_difference(own, expected) <= 1e-5);
  CHECK(relative_difference(vector_of(server.submit(batch<classifier>(x)).get()), expected) <= 1e-5);
}

TEST_CASE("requests are collected while all replicas work, even with no latency", "[predictor]") {
  ls::predictor<gated, 1> server({.max_batch = 8, .latency = std::chrono::microseconds{0}, .warm_up = false});
  const auto x = draws<float>(6, 6 * 4);
  const shut_gate door;
  std::vector<std::future<decltype(server)::output_tensor>> answers;
  answers.push_back(server.submit(part_of<gated>(x, 0, 1)));
  door.await(1);
  for (std::int64_t s = 1; s < 6; ++s) answers.push_back(server.submit(part_of<gated>(x, s, 1)));
  door.open();
  for (const auto& answer : answers) REQUIRE(is_answered(answer));
  CHECK(server.statistics().batches == 2);
  CHECK(server.statistics().largest_batch == 5);
}

TEST_CASE("a large batch is dealt to all replicas", "[predictor]") {
  ls::predictor<gated, 3> server({.max_batch = 32, .latency = never, .warm_up = false});
  const auto x = draws<float>(7, 36 * 4);
  const shut_gate door;
  auto answer = server.submit(batch<gated>(x));
  door.await(3);  // hangs unless three replicas work
  door.open();
  REQUIRE(is_answered(answer));
  CHECK(server.statistics().batches == 3);
  CHECK(server.statistics().largest_batch == 12);
}

TEST_CASE("a predictor's runs come in few sizes, mostly full", "[predictor]") {
  for (const std::int64_t largest : {1, 2, 16, 128})
    for (std::int64_t left = 1; left <= 300; ++left) {
      const std::int64_t rows = ls::detail::prediction_rows(left, largest);
      INFO(left << " samples left of which " << largest << " fit: " << rows);
      REQUIRE(rows >= 1);
      REQUIRE(rows <= largest);
      REQUIRE((rows & (rows - 1)) == 0);
      REQUIRE(4 * std::min(left, rows) >= 3 * rows);
      REQUIRE((rows == largest || left < 2 * rows));
    }
}

TEST_CASE("a predictor's parameters are loaded from a file, and saved", "[predictor]") {
  const temporary_folder folder;
  const auto first = (folder.path() / "first.safetensors").string();
  const auto second = (folder.path() / "second.safetensors").string();
  ls::data_parallel<classifier, 2> trainer;
  trainer.initialize(ls::seed{17});
  ls::save_safetensors(trainer, first);

  ls::predictor<classifier, 2> server;
  CHECK(all_values(server.parameters()) == all_values(ls::data_parallel<classifier, 1>().parameters()));
  ls::load_safetensors(server, first);
  CHECK(all_values(server.parameters()) == all_values(trainer.parameters()));
  const auto x = draws<float>(8, 4 * 50);
  CHECK(relative_difference(vector_of(server.predict(batch<classifier>(x))), one_by_one(trainer, x)) <= 1e-5);

  ls::save_safetensors(server, second);
  ls::predictor<classifier, 1> other;
  other.update([&](auto& self) { ls::load_safetensors(self, second); });
  CHECK(all_values(other.parameters()) == all_values(trainer.parameters()));
  const ls::predictor<classifier, 3> copy(other);
  CHECK(all_values(copy.parameters()) == all_values(trainer.parameters()));
}

TEST_CASE("a predictor computes with the parameters of another backend's trainer", "[predictor]") {
  ls::data_parallel<classifier, 1, ls::reference<float>> trainer;
  trainer.initialize(ls::seed{3});
  ls::predictor<classifier, 1> server(trainer);
  const auto x = draws<float>(9, 6 * 50);
  CHECK(relative_difference(vector_of(server.predict(batch<classifier>(x))), one_by_one(trainer, x)) <= 1e-5);
}

TEST_CASE("a predictor's options out of their domain are refused", "[predictor]") {
  using server = ls::predictor<classifier, 1>;
  using std::chrono::microseconds;
  CHECK_THROWS_AS(server({.max_batch = 0}), ls::value_error);
  CHECK_THROWS_WITH(server({.max_batch = 1'000'000}), Catch::Contains("1..65536") && Catch::Contains("1000000"));
  CHECK_THROWS_AS(server({.latency = microseconds{-1}}), ls::value_error);
  CHECK_THROWS_AS(server({.latency = microseconds::max()}), ls::value_error);
  CHECK_THROWS_AS(server({.max_pending = 0}), ls::value_error);
  CHECK_THROWS_AS(server({.threads_per_replica = 0}), ls::value_error);
  CHECK_THROWS_AS(server({.devices = {-1}}), ls::value_error);
  CHECK_THROWS_AS(server({.devices = std::vector<int>(server::replicas + 1)}), ls::value_error);
}
