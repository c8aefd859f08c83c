// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: augment: a transform takes a tensor_view<float, shape<...>> and a random_draws&
#include <lockstep/data/augment.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using ls::data::field;

int main() {
  const ls::data::dataset<field<float, 1, 4, 4>> train(std::vector<float>(32));
#ifdef LOCKSTEP_TEST_FIXED
  const auto darker = [](auto picture, ls::data::random_draws&) { picture(0, 0, 0) = 0; };
#else
  const auto darker = [](auto picture) { picture(0, 0, 0) = 0; };
#endif
  const ls::data::loader batches{train, {.batch = 2}, ls::data::augment{darker}};
}
