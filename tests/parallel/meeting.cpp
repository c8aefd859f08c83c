// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/parallel/trainer/meeting.hpp>

#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using state = ls::detail::step_state<3>;

std::string message(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
  return "none";
}

void fail(state& s, std::size_t replica, const char* what) {
  s.attempt(replica, [&] { throw std::runtime_error(what); });
}

}  // namespace

TEST_CASE("of what one replica throws in a step its first exception stays", "[meeting]") {
  state s;
  int calls = 0;
  s.attempt(1, [&] { ++calls; });
  CHECK(calls == 1);
  CHECK_FALSE(s.failed);
  CHECK(s.first == 3);
  fail(s, 1, "the cause");
  fail(s, 1, "what came of it");
  CHECK(s.failed);
  CHECK(s.first == 1);
  CHECK(message(s.errors[1]) == "the cause");
  CHECK(message(s.errors[0]) == "none");
}

TEST_CASE("the replica that failed before the others is known, and may be kept alone", "[meeting]") {
  state s;
  fail(s, 2, "the cause");
  fail(s, 0, "what came of it");
  CHECK(s.first == 2);
  CHECK(message(s.errors[0]) == "what came of it");
  s.keep_first();
  CHECK(message(s.errors[0]) == "none");
  CHECK(message(s.errors[2]) == "the cause");
}

TEST_CASE("replicas wait until all are ready, each counted once", "[meeting]") {
  state s;
  for (int i = 0; i < 5; ++i) s.come_ready(0);
  CHECK(s.ready == 1);
  s.come_ready(1);
  std::thread last([&] { s.come_ready(2); });
  CHECK_NOTHROW(s.await_ready(0));
  CHECK(s.ready == 3);
  last.join();
}

TEST_CASE("who waits for a replica that has failed gives up", "[meeting]") {
  state s;
  std::thread failing([&] { fail(s, 1, "the cause"); });
  CHECK_THROWS_AS(s.await_ready(0), ls::backend_error);
  failing.join();
}
