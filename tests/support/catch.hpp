// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One name for Catch2 2.13 and 3.x: TEST_CASE, SECTION, REQUIRE, CHECK, Approx, and LOCKSTEP_SKIP(reason), which
// leaves the test case at once and makes ctest report it as skipped (exit code 4), never as passed.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#define LOCKSTEP_SKIP(reason) SKIP(reason)
#else
#include <catch2/catch.hpp>

#include <cstdio>
#include <string>

namespace lockstep_test {

inline int& skipped_cases() {
  static int count = 0;
  return count;
}

}  // namespace lockstep_test

#define LOCKSTEP_SKIP(reason)                                  \
  do {                                                         \
    std::printf("skipped: %s\n", std::string(reason).c_str()); \
    ++lockstep_test::skipped_cases();                          \
    SUCCEED("skipped");                                        \
    return;                                                    \
  } while (false)
#endif
