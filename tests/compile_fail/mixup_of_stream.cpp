// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: loader: a stream cannot be mixed
#include <lockstep/data/augment.hpp>
#include <lockstep/data/stream.hpp>

namespace ls = lockstep;

int main() {
  ls::data::stream<ls::data::field<float, 2>> source([](auto) { return false; });
#ifdef LOCKSTEP_TEST_FIXED
  const auto by = ls::data::augment{[](auto, ls::data::random_draws&) {}};
#else
  const auto by = ls::data::augment{ls::data::mixup{}};
#endif
  ls::data::loader batches{source, {}, by};
}
