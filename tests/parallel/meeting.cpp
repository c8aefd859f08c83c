// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/readiness.hpp>
#include <lockstep/parallel/trainer/thread_team.hpp>

#include <array>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using meeting = ls::detail::meeting<3>;
using readiness = ls::detail::readiness<3>;

std::string message(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
  return "none";
}

void fail(meeting& m, std::size_t replica, const char* what) {
  m.attempt(replica, [&] { throw std::runtime_error(what); });
}

}  // namespace

TEST_CASE("of what one replica throws in a step its first exception stays, and it does no more work", "[meeting]") {
  meeting m;
  int calls = 0;
  m.attempt(1, [&] { ++calls; });
  CHECK(calls == 1);
  CHECK_FALSE(m.failed());
  fail(m, 1, "the cause");
  m.attempt(1, [&] { ++calls; });
  m.attempt_always(1, [&] {
    ++calls;
    throw std::runtime_error("what came of it");
  });
  CHECK(calls == 2);
  CHECK(m.failed());
  CHECK(m.failed(1));
  CHECK_FALSE(m.failed(0));
  CHECK(message(m.errors()[1]) == "the cause");
  CHECK(message(m.errors()[0]) == "none");
}

TEST_CASE("the replica that failed before the others is known, and may be kept alone", "[meeting]") {
  meeting m;
  fail(m, 2, "the cause");
  fail(m, 0, "what came of it");
  CHECK(message(m.errors()[0]) == "what came of it");
  m.keep_first();
  CHECK(message(m.errors()[0]) == "none");
  CHECK(message(m.errors()[2]) == "the cause");
}

TEST_CASE("a change is half done once a replica that has failed has begun it", "[meeting]") {
  meeting m;
  m.settle_change(0);
  CHECK_FALSE(m.half_done());
  fail(m, 1, "the cause");
  m.settle_change(0);
  CHECK_FALSE(m.half_done());
  m.settle_change(1);
  CHECK(m.half_done());
}

TEST_CASE("all who come to a meeting hear one verdict, though one fails as soon as it leaves", "[meeting]") {
  ls::thread_team<3> team(false);
  for (int round = 0; round < 300; ++round) {
    meeting m;
    std::array<bool, 3> first{}, second{};
    team.run([&](int r) {
      const auto at = static_cast<std::size_t>(r);
      first[at] = m.come(team);
      if (r == round % 3) fail(m, at, "after the first meeting");
      second[at] = m.come(team);
    });
    CHECK((first[0] && first[1] && first[2]));
    CHECK_FALSE((second[0] || second[1] || second[2]));
  }
}

TEST_CASE("replicas wait until all are ready, each counted once", "[meeting]") {
  const meeting m;
  readiness ready(m);
  for (int i = 0; i < 5; ++i) ready.come(0);
  std::thread second([&] { ready.come(1); });
  std::thread last([&] { ready.come(2); });
  CHECK_NOTHROW(ready.await(0));
  second.join();
  last.join();
}

TEST_CASE("a replica that comes twice does not stand for another that has failed", "[meeting]") {
  meeting m;
  readiness ready(m);
  for (int i = 0; i < 5; ++i) ready.come(0);
  ready.come(1);
  fail(m, 2, "the cause");
  CHECK_THROWS_AS(ready.await(0), ls::backend_error);
}

TEST_CASE("who waits for a replica that has failed gives up", "[meeting]") {
  meeting m;
  readiness ready(m);
  std::thread failing([&] { fail(m, 1, "the cause"); });
  CHECK_THROWS_AS(ready.await(0), ls::backend_error);
  failing.join();
}
