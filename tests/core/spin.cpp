// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <atomic>
#include <thread>

#include <lockstep/core/spin.hpp>

#include "support/catch.hpp"

TEST_CASE("spinning ends when something is done, or after its turns", "[spin]") {
  int asked = 0;
  CHECK(lockstep::spin_until(0, [&] { return ++asked == 1; }));
  CHECK(asked == 1);
  asked = 0;
  CHECK(lockstep::spin_until(10, [&] { return ++asked == 7; }));
  CHECK(asked == 7);
  asked = 0;
  CHECK_FALSE(lockstep::spin_until(10, [&] { return ++asked == 12; }));
  CHECK(asked == 11);

  std::atomic<bool> set{false};
  std::thread other([&] { set.store(true); });
  while (!lockstep::spin_until(lockstep::spin_limit, [&] { return set.load(); })) std::this_thread::yield();
  other.join();
}
