// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/prefetch.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace {

// Writes the index into the slot, and fails at `fail_at`.
struct filler {
  std::int64_t fail_at = -1;
  std::atomic<std::int64_t>* filled = nullptr;

  void operator()(std::int64_t& slot, std::int64_t index) const {
    if (index == fail_at) throw std::runtime_error("no slot " + std::to_string(index));
    slot = index;
    if (filled != nullptr) ++*filled;
  }
};

using ring = lockstep::data::detail::prefetcher<std::int64_t, filler>;

std::vector<std::int64_t> slots(std::size_t count) { return std::vector<std::int64_t>(count); }

}  // namespace

TEST_CASE("prefetcher: delivers every slot in order, run after run", "[data]") {
  ring prefetch(slots(GENERATE(1U, 2U, 3U, 8U)), filler{});
  for (const std::int64_t count : {0, 1, 2, 50, 3}) {
    prefetch.start(count);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto* slot = prefetch.front();
      REQUIRE(slot != nullptr);
      CHECK(*slot == i);
      CHECK(prefetch.front() == slot);
      prefetch.pop();
    }
    CHECK(prefetch.front() == nullptr);
    CHECK(prefetch.front() == nullptr);
  }
}

TEST_CASE("prefetcher: what filling throws reaches the consumer at its place", "[data]") {
  const std::int64_t fail_at = GENERATE(0, 1, 5, 9);
  ring prefetch(slots(GENERATE(1U, 2U, 4U)), filler{.fail_at = fail_at});
  prefetch.start(10);
  for (std::int64_t i = 0; i < fail_at; ++i) {
    REQUIRE(*prefetch.front() == i);
    prefetch.pop();
  }
  CHECK_THROWS_WITH(prefetch.front(), "no slot " + std::to_string(fail_at));
  CHECK(prefetch.front() == nullptr);
  prefetch.fill().fail_at = -1;
  prefetch.start(2);
  CHECK(*prefetch.front() == 0);
  prefetch.pop();
  CHECK(*prefetch.front() == 1);
}

TEST_CASE("prefetcher: a failure nobody asked for ends with the run", "[data]") {
  std::atomic<std::int64_t> filled = 0;
  ring prefetch(slots(4), filler{.fail_at = 2, .filled = &filled});
  prefetch.start(10);
  CHECK(*prefetch.front() == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // room to go on after the failure
  CHECK(filled <= 2);
  prefetch.stop();
  prefetch.fill().fail_at = -1;
  prefetch.start(1);
  CHECK(*prefetch.front() == 0);
}

TEST_CASE("prefetcher: runs ahead as far as its slots go", "[data]") {
  std::atomic<std::int64_t> filled = 0;
  ring prefetch(slots(3), filler{.filled = &filled});
  prefetch.start(10);
  const auto wait_for = [&](std::int64_t target) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (filled < target && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // room to run too far
    return filled.load();
  };
  CHECK(wait_for(3) == 3);
  CHECK(*prefetch.front() == 0);
  CHECK(wait_for(3) == 3);
  prefetch.pop();
  CHECK(wait_for(4) == 4);
}

TEST_CASE("prefetcher: a single slot is filled when asked for, and once", "[data]") {
  std::atomic<std::int64_t> filled = 0;
  ring prefetch(slots(1), filler{.filled = &filled});
  prefetch.start(10);
  CHECK(filled == 0);
  CHECK(*prefetch.front() == 0);
  CHECK(*prefetch.front() == 0);
  CHECK(filled == 1);
}
