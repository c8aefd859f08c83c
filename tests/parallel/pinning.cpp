// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <barrier>
#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>

#include <lockstep/parallel/trainer/thread_team.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

/// The processors that the calling thread may use; none when that cannot be found out. Members call it too, so it
/// asserts nothing itself.
std::set<int> own_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {};
  std::set<int> all;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) all.insert(cpu);
  return all;
}

/// The processors that each member of a team may use, as the members themselves see it.
template <int N>
std::vector<std::set<int>> processors_of(ls::thread_team<N>& team) {
  std::vector<std::set<int>> all(N);
  std::mutex mutex;
  team.run([&](int r) {
    const auto own = own_processors();
    const std::lock_guard lock(mutex);
    all[static_cast<std::size_t>(r)] = own;
  });
  return all;
}

bool disjoint(const std::set<int>& a, const std::set<int>& b) {
  return std::none_of(a.begin(), a.end(), [&](int cpu) { return b.contains(cpu); });
}

}  // namespace

TEST_CASE("members of a team are bound to processors of their own when there are enough", "[thread_team]") {
  const auto all = own_processors();
  if (all.size() < 2) LOCKSTEP_SKIP("one processor");
  ls::thread_team<2> team;
  const auto of = processors_of(team);
  CHECK(of[0] == all);  // the caller's thread is never bound
  CHECK(of[1].size() == 1);
}

TEST_CASE("a member with several threads has a processor for each, or is not bound", "[thread_team]") {
  const auto all = own_processors();
  for (const int each : {2, 3}) {
    ls::thread_team<2> team(true, each);
    const auto of = processors_of(team);
    CAPTURE(each, all.size());
    CHECK(of[0] == all);
    CHECK(of[1].size() ==
          (all.size() >= 2 * static_cast<std::size_t>(each) ? static_cast<std::size_t>(each) : all.size()));
  }
}

TEST_CASE("teams of one process do not share the processors that they bind", "[thread_team]") {
  const auto all = own_processors();
  if (all.size() < 2) LOCKSTEP_SKIP("one processor");
  ls::thread_team<2> first;
  ls::thread_team<2> second;
  const auto bound = processors_of(first)[1];
  const auto other = processors_of(second)[1];
  REQUIRE(bound.size() == 1);
  CHECK((other == all || disjoint(bound, other)));
  // Two processors are left for the second team's two members when there are three.
  if (all.size() >= 3) CHECK(other.size() == 1);
}

TEST_CASE("teams that are made at the same time do not share the processors that they bind", "[thread_team]") {
  const auto all = own_processors();
  if (all.size() < 2) LOCKSTEP_SKIP("one processor");
  int shared = 0, unbound = 0;
  for (int i = 0; i < 500; ++i) {
    std::barrier<> together(2);
    std::array<std::set<int>, 2> bound;
    const auto make = [&](std::size_t which) {
      together.arrive_and_wait();
      ls::thread_team<2> team;
      together.arrive_and_wait();  // both exist
      bound[which] = processors_of(team)[1];
      together.arrive_and_wait();
    };
    std::thread other(make, 1);
    make(0);
    other.join();
    shared += bound[0].size() == 1 && bound[0] == bound[1];
    unbound += bound[0] == all && bound[1] == all;
  }
  CHECK(shared == 0);
  // For a moment after it was joined, a thread of the last round's teams may still claim its processor.
  CHECK(unbound < 50);
}

TEST_CASE("processors are free again once a team has ended", "[thread_team]") {
  if (own_processors().size() < 2) LOCKSTEP_SKIP("one processor");
  for (int i = 0; i < 3; ++i) {
    ls::thread_team<2> team;
    CHECK(processors_of(team)[1].size() == 1);
  }
}

TEST_CASE("a team that is not to be bound is not", "[thread_team]") {
  REQUIRE(!own_processors().empty());
  ls::thread_team<3> team(false);
  for (const auto& each : processors_of(team)) CHECK(each == own_processors());
}
