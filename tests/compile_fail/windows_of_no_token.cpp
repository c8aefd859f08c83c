// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: windows: a window has one token or more
#include <lockstep/lockstep.hpp>

#include <lockstep/data/text.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
constexpr std::int64_t length = 128;
#else
constexpr std::int64_t length = 0;
#endif

int main() {
  const auto [train, validation] = ls::data::text_file("input.txt");
  return ls::data::windows<length>(train).size() > 0 ? 0 : 1;
}
