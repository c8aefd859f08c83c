// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <lockstep/parallel/trainer/thread_team.hpp>
#include <lockstep/parallel/with_replicas.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

/// Runs a team `rounds` times, each with `phases` barriers, and counts the members that saw a phase not complete.
template <int N>
int late_members(int rounds, int phases) {
  ls::thread_team<N> team;
  // Plain integers: the barrier alone must make one member's writes visible to the others.
  std::array<int, static_cast<std::size_t>(N)> written{};
  std::atomic<int> late{0};
  std::atomic<int> calls{0};
  int expected = 0;
  for (int round = 0; round < rounds; ++round) {
    const int base = expected;
    team.run([&](int member) {
      calls.fetch_add(1, std::memory_order_relaxed);
      for (int phase = 1; phase <= phases; ++phase) {
        written[static_cast<std::size_t>(member)] = base + phase;
        team.barrier();
        for (const int value : written)
          if (value != base + phase) late.fetch_add(1, std::memory_order_relaxed);
        team.barrier();
      }
    });
    expected += phases;
    for (const int value : written)
      if (value != expected) late.fetch_add(1);
  }
  CHECK(calls.load() == N * rounds);
  return late.load();
}

}  // namespace

TEST_CASE("every member runs every time, and a barrier waits for all", "[thread_team]") {
  CHECK(late_members<1>(50, 3) == 0);
  CHECK(late_members<2>(500, 5) == 0);
  CHECK(late_members<3>(300, 4) == 0);
}

TEST_CASE("a team may have more members than the machine has processors", "[thread_team]") {
  CHECK(late_members<8>(100, 3) == 0);
  CHECK(late_members<33>(10, 2) == 0);
}

TEST_CASE("member 0 is the caller, the others have threads of their own that stay", "[thread_team]") {
  ls::thread_team<4> team(false);
  std::array<std::thread::id, 4> first{};
  std::array<std::thread::id, 4> second{};
  team.run([&](int member) { first[static_cast<std::size_t>(member)] = std::this_thread::get_id(); });
  team.run([&](int member) { second[static_cast<std::size_t>(member)] = std::this_thread::get_id(); });
  CHECK(first[0] == std::this_thread::get_id());
  CHECK(std::set<std::thread::id>(first.begin(), first.end()).size() == 4);
  CHECK(first == second);
}

TEST_CASE("a team that never ran, or just ran, ends without a wait for anybody", "[thread_team]") {
  for (int i = 0; i < 50; ++i) {
    const ls::thread_team<3> idle;
  }
  std::atomic<int> calls{0};
  for (int i = 0; i < 50; ++i) {
    ls::thread_team<3> team;
    team.run([&](int) { calls.fetch_add(1); });
  }
  CHECK(calls.load() == 150);
}

TEST_CASE("different callers may use a team in turn", "[thread_team]") {
  ls::thread_team<2> team;
  std::atomic<int> calls{0};
  for (int i = 0; i < 20; ++i) std::thread([&] { team.run([&](int) { calls.fetch_add(1); }); }).join();
  CHECK(calls.load() == 40);
}

TEST_CASE("with_replicas picks the instance built for a number", "[with_replicas]") {
  for (const int n : {1, 2, 8}) {
    int built = 0;
    int calls = 0;
    ls::with_replicas<1, 2, 4, 8>(n, [&]<int N> {
      built = N;
      ++calls;
    });
    CHECK(built == n);
    CHECK(calls == 1);
  }
  int calls = 0;
  const auto three = [&] { ls::with_replicas<1, 2, 4>(3, [&]<int> { ++calls; }); };
  CHECK_THROWS_AS(three(), ls::value_error);
  CHECK_THROWS_WITH(three(), Catch::Contains("one of 1, 2, 4 replicas") && Catch::Contains("got 3"));
  CHECK(calls == 0);
}
