// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/comm/simulated_link.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <ctime>
#include <limits>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/comm/compress.hpp>
#include <lockstep/comm/single.hpp>

#include "comm/ranks.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using comm_test::run_ranks;

static_assert(ls::communicator<ls::single_rank>);
static_assert(ls::communicator<ls::simulated_link<ls::single_rank>>);
static_assert(ls::communicator<ls::simulated_link<ls::comm::thread_rank>>);

template <class F>
double seconds(const F& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Processor time of this thread.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

TEST_CASE("the communicator of one rank changes nothing", "[comm][single]") {
  ls::single_rank alone;
  std::vector<float> x{1, 2};
  std::vector<double> y{3};
  alone.all_reduce(x);
  alone.all_reduce(y);
  alone.broadcast(x, 0);
  alone.barrier();
  CHECK(x == std::vector<float>{1, 2});
  CHECK(y == std::vector<double>{3});
  CHECK(alone.rank() == 0);
  CHECK(alone.size() == 1);
  CHECK_THROWS_AS(alone.broadcast(x, 1), ls::value_error);
}

TEST_CASE("a simulated link of W machines takes the time of a ring", "[comm][simulated_link]") {
  // 4 machines, 1 ms a hop, 100 Mbit/s; 100 kB: 6 ms + 2 * 3/4 * 8 ms = 18 ms.
  ls::simulated_link link{ls::single_rank{}, {.latency = 1e-3, .bandwidth = 1e8, .world = 4}};
  CHECK(link.all_reduce_seconds(100'000) == Approx(0.018));
  CHECK(link.broadcast_seconds(100'000) == Approx(0.011));
  CHECK(link.size() == 1);
  std::vector<float> values(25'000, 1.F);
  const double reduce = seconds([&] { link.all_reduce(values); });
  CHECK(reduce >= 0.018);
  CHECK(reduce < 0.5);
  CHECK(link.busy_seconds() == Approx(0.018));
  CHECK(link.bytes() == 150'000);
  CHECK(values[0] == 1.F);

  const double send = seconds([&] { link.broadcast(values, 0); });
  CHECK(send >= 0.011);
  CHECK(send < 0.5);
  CHECK(link.busy_seconds() == Approx(0.029));
  CHECK(link.bytes() == 250'000);

  std::vector<double> wide(12'500);
  const double doubles = seconds([&] { link.all_reduce(wide); });
  CHECK(doubles >= 0.018);
  CHECK(link.bytes() == 400'000);

  // One after the other.
  const double three = seconds([&] {
    for (int i = 0; i < 3; ++i) link.all_reduce(values);
  });
  CHECK(three >= 3 * 0.018);
  CHECK(three < 1);
}

TEST_CASE("bytes that the machines of a link do not divide are rounded up", "[comm][simulated_link]") {
  for (const int world : {2, 3, 5, 7})
    for (const std::int64_t n : {1, 2, 3, 5, 9}) {
      CAPTURE(world, n);
      ls::simulated_link link{ls::single_rank{}, {.world = world}};
      std::vector<float> values(static_cast<std::size_t>(n));
      link.all_reduce(values);
      const std::int64_t bytes = link.bytes();
      // 2 (W - 1) / W of 4 n bytes, and less than one byte more.
      CHECK(bytes * world >= 2 * (world - 1) * 4 * n);
      CHECK((bytes - 1) * world < 2 * (world - 1) * 4 * n);
    }
}

TEST_CASE("half the width takes half the time of the bytes", "[comm][simulated_link]") {
  ls::simulated_link link{ls::single_rank{}, {.bandwidth = 1e8, .world = 2}};
  std::vector<float> values(25'000, 1.F);
  ls::bf16_hook hook;
  const double took = seconds([&] { hook(link, ls::bucket_view{.index = 0, .gradients = values, .tensors = {}}); });
  CHECK(took >= 0.004);
  CHECK(link.busy_seconds() == Approx(0.004));
  CHECK(link.bytes() == hook.wire_bytes());  // two machines send 2 * 1/2 of the buffer
}

TEST_CASE("a link without latency or of one machine takes no time", "[comm][simulated_link]") {
  ls::simulated_link link{ls::single_rank{}};
  std::vector<float> values(1'000'000);
  link.all_reduce(values);
  link.broadcast(values, 0);
  CHECK(link.busy_seconds() == 0.0);
  CHECK(link.bytes() == 0);
  ls::simulated_link quick{ls::single_rank{}, {.world = 16}};
  quick.all_reduce(values);
  CHECK(quick.busy_seconds() == 0.0);
}

TEST_CASE("who waits for the link sleeps", "[comm][simulated_link]") {
  ls::simulated_link link{ls::single_rank{}, {.latency = 0.05, .world = 2}};
  std::vector<float> values(1);
  const double before = processor_seconds();
  const double took = seconds([&] { link.all_reduce(values); });
  CHECK(took >= 0.1);
  CHECK(processor_seconds() - before < 0.02);
}

TEST_CASE("a simulated link counts from the last rank's arrival", "[comm][simulated_link]") {
  using clock = std::chrono::steady_clock;
  std::vector<float> sums{1, 2};
  clock::time_point arrival;
  std::vector<clock::time_point> end(2);
  const auto messages = run_ranks(2, [&](auto& c) {
    const auto r = static_cast<std::size_t>(c.rank());
    ls::simulated_link link{std::move(c), {.latency = 0.02}};
    if (r == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      arrival = clock::now();
    }
    link.all_reduce(std::span<float>(&sums[r], 1));
    end[r] = clock::now();
  });
  for (const auto& m : messages) CHECK(m.empty());
  CHECK(sums == std::vector<float>{3, 3});
  for (const auto& e : end) CHECK(std::chrono::duration<double>(e - arrival).count() >= 0.04);
}

TEST_CASE("a link that cannot be is refused", "[comm][simulated_link]") {
  const auto make = [](const ls::link_options& o) { return ls::simulated_link<ls::single_rank>{{}, o}; };
  CHECK_THROWS_AS(make({.latency = -1}), ls::value_error);
  CHECK_THROWS_AS(make({.latency = std::numeric_limits<double>::infinity()}), ls::value_error);
  CHECK_THROWS_AS(make({.bandwidth = 0}), ls::value_error);
  CHECK_THROWS_AS(make({.bandwidth = std::nan("")}), ls::value_error);
  CHECK_THROWS_AS(make({.world = -2}), ls::value_error);
}

TEST_CASE("an abort reaches the other ranks through a simulated link", "[comm][simulated_link]") {
  const auto messages = run_ranks(2,
                                  [](ls::comm::thread_rank& rank) {
                                    const int r = rank.rank();
                                    ls::simulated_link link(std::move(rank));
                                    if (r == 1) return link.abort("out of memory");
                                    std::vector<float> x{1};
                                    link.all_reduce(x);
                                  },
                                  {.time_limit = 60});
  CHECK(comm_test::contains(messages[0], "rank 1 aborted (out of memory)"));
  CHECK(messages[1].empty());
}
