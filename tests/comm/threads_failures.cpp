// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/comm/threads.hpp>

#include "comm/ranks.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using comm_test::contains;
using comm_test::run_ranks;

void pause(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

}  // namespace

TEST_CASE("ranks with different lengths all learn who brought what", "[comm][threads]") {
  constexpr int world = 3;
  std::vector<float> sums(world);
  std::vector<float> untouched(world);
  std::vector<std::string> seen(world);
  const auto messages = run_ranks(world, [&](auto& c) {
    const auto r = static_cast<std::size_t>(c.rank());
    std::vector<float> values(r == 1 ? 7 : 10, 1.F + static_cast<float>(r));
    try {
      c.all_reduce(values);
    } catch (const ls::communicator_error& e) {
      seen[r] = e.what();
    }
    untouched[r] = values[0];
    // They are still in step: the group goes on.
    values.assign(4, 1.F);
    c.all_reduce(values);
    sums[r] = values[3];
  });
  for (std::size_t r = 0; r < world; ++r) {
    CAPTURE(seen[r]);
    CHECK(messages[r].empty());
    CHECK(
        contains(seen[r], "rank 0: all_reduce of 10 floats, rank 1: all_reduce of 7 floats, rank 2: all_reduce of 10"));
    CHECK(contains(seen[r], "threads, rank " + std::to_string(r) + " in call 1"));
    CHECK(untouched[r] == 1.F + static_cast<float>(r));
    CHECK(sums[r] == 3.F);
  }
}

TEST_CASE("ranks in different calls all learn it", "[comm][threads]") {
  std::vector<float> narrow(4);
  std::vector<double> wide(4);
  const auto kinds = run_ranks(2, [&](auto& c) {
    if (c.rank() == 0)
      c.barrier();
    else
      c.all_reduce(narrow);
  });
  const auto types = run_ranks(2, [&](auto& c) {
    if (c.rank() == 0)
      c.all_reduce(narrow);
    else
      c.all_reduce(wide);
  });
  std::vector<std::vector<float>> own(3, std::vector<float>(4));
  const auto roots = run_ranks(3, [&](auto& c) { c.broadcast(own[static_cast<std::size_t>(c.rank())], c.rank() / 2); });
  const auto bad_root = run_ranks(3, [&](auto& c) { c.broadcast(own[static_cast<std::size_t>(c.rank())], 3); });
  for (const auto& m : kinds) CHECK(contains(m, "got rank 0: barrier, rank 1: all_reduce of 4 floats"));
  for (const auto& m : types) CHECK(contains(m, "got rank 0: all_reduce of 4 floats, rank 1: all_reduce of 4 doubles"));
  for (const auto& m : roots) CHECK(contains(m, "rank 2: broadcast of 4 floats from rank 1"));
  for (const auto& m : bad_root) CHECK(contains(m, "expected a root from 0 to 2, got 3"));
}

TEST_CASE("a rank that leaves while others wait is named", "[comm][threads]") {
  for (const bool late : {false, true}) {
    // Rank 2 does one call and goes; the others sleep in the second one already, or come to it later.
    const auto messages = run_ranks(3, [&](auto& c) {
      std::vector<float> values(9);
      c.all_reduce(values);
      if (c.rank() == 2) {
        if (!late) pause(30);
        return;
      }
      if (late) pause(30);
      c.all_reduce(values);
    });
    CAPTURE(messages[0], messages[1]);
    CHECK(messages[2].empty());
    for (const int r : {0, 1}) {
      const std::string& m = messages[static_cast<std::size_t>(r)];
      CHECK(contains(m, "rank " + std::to_string(r) + " in call 2 (all_reduce of 9 floats)"));
      CHECK(contains(m, "rank 2 left after call 1 (all_reduce of 9 floats)"));
    }
  }
}

TEST_CASE("an abort carries its reason to the others, and ends the group for good", "[comm][threads]") {
  std::vector<std::string> again(3);
  const auto messages = run_ranks(3, [&](auto& c) {
    if (c.rank() == 1) {
      pause(20);
      c.abort("out of memory");
      try {
        c.barrier();
      } catch (const ls::communicator_error& e) {
        again[1] = e.what();
      }
      pause(20);
      return;
    }
    try {
      c.barrier();
    } catch (const ls::communicator_error&) {
      again[static_cast<std::size_t>(c.rank())] = "threw";
    }
    c.barrier();
  });
  CAPTURE(messages[0], messages[2], again[1]);
  CHECK(again[0] == "threw");
  CHECK(again[2] == "threw");
  CHECK(contains(again[1], "rank 1 aborted (out of memory)"));
  for (const std::size_t r : {0U, 2U}) {
    CHECK(contains(messages[r], "rank 1 aborted (out of memory)"));
    CHECK(contains(messages[r], "in call 2 (barrier)"));
  }
}

TEST_CASE("a rank that nobody takes counts as gone once the hub is", "[comm][threads]") {
  std::string message;
  std::optional<ls::comm::threads> hub(2);
  std::thread waiting([&message, own = hub->take(1)]() mutable {
    try {
      own.barrier();
    } catch (const ls::communicator_error& e) {
      message = e.what();
    }
  });
  pause(10);
  hub.reset();
  waiting.join();
  CAPTURE(message);
  CHECK(contains(message, "rank 0 was never taken before its first call"));
}

TEST_CASE("assigning over a communicator lets its rank go", "[comm][threads]") {
  ls::comm::threads first(2);
  ls::comm::threads second(1);
  ls::comm::thread_rank own = first.take(0);
  ls::comm::thread_rank waiting = first.take(1);
  own = second.take(0);
  CHECK(own.size() == 1);
  CHECK_NOTHROW(own.barrier());
  CHECK_THROWS_WITH(waiting.barrier(), Catch::Contains("rank 0 left before its first call"));
}

TEST_CASE("after the time limit every rank learns which ranks did not come, and to what", "[comm][threads]") {
  const auto start = std::chrono::steady_clock::now();
  const auto messages = run_ranks(4,
                                  [&](auto& c) {
                                    std::vector<float> values(6);
                                    c.barrier();
                                    if (c.rank() == 3) {
                                      pause(1500);
                                      c.all_reduce(values);
                                      return;
                                    }
                                    if (c.rank() == 2) {
                                      pause(1500);
                                      return;
                                    }
                                    c.all_reduce(values);
                                  },
                                  {.time_limit = 0.5});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CAPTURE(messages[0], messages[1], messages[3]);
  CHECK(took.count() >= 0.5);
  CHECK(messages[2].empty());
  for (const std::size_t r : {0U, 1U, 3U}) {
    CHECK(contains(messages[r],
                   "waited 0.5 s in call 2 (all_reduce of 6 floats), still without rank 2 (last in call 1, "
                   "barrier), rank 3 (last in call 1, barrier)"));
    CHECK(contains(messages[r], "threads, rank " + std::to_string(r) + " in call 2"));
  }
}

TEST_CASE("a time limit does not disturb ranks that come in time", "[comm][threads]") {
  std::vector<float> sums(2);
  const auto messages = run_ranks(2,
                                  [&](auto& c) {
                                    for (int round = 0; round < 3; ++round) {
                                      if (c.rank() == round % 2) pause(20);
                                      float& own = sums[static_cast<std::size_t>(c.rank())];
                                      own = 1;
                                      c.all_reduce(std::span<float>(&own, 1));
                                    }
                                  },
                                  {.time_limit = 60});
  CHECK(messages == std::vector<std::string>(2));
  CHECK(sums == std::vector<float>(2, 2.F));
}

TEST_CASE("ranks that leave at any moment never leave the others hanging", "[comm][threads]") {
  // Rank 1 does a few calls more than it announced to nobody, then goes without a pause: whatever the others are doing
  // then, finished calls are right and the next one throws.
  for (int calls = 0; calls < 60; ++calls) {
    std::vector<int> done(3);
    std::vector<int> wrong(3);
    const auto messages = run_ranks(3, [&](auto& c) {
      std::vector<float> values(300);
      for (int i = 0; i < (c.rank() == 1 ? calls : 1000); ++i) {
        for (float& v : values) v = 1;
        c.all_reduce(values);
        ++done[static_cast<std::size_t>(c.rank())];
        for (const float v : values) wrong[static_cast<std::size_t>(c.rank())] += v == 3.F ? 0 : 1;
      }
    });
    CHECK(done == std::vector<int>(3, calls));
    CHECK(wrong == std::vector<int>(3, 0));
    CHECK(messages[1].empty());
    CHECK(contains(messages[0], calls == 0 ? "rank 1 left before" : "rank 1 left after call " + std::to_string(calls)));
    CHECK(contains(messages[2], calls == 0 ? "rank 1 left before" : "rank 1 left after call " + std::to_string(calls)));
  }
}
