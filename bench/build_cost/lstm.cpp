// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdint>
#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::embedding<256, 64>, ls::lstm<256, ls::layers<2>>, ls::linear<256>>;
using writer = ls::model<net, ls::tokens<128>, ls::cross_entropy>;

int main() {
  ls::data_parallel<writer, 2, ls::adamw> trainer{ls::adamw{.learning_rate = 0.001}};
  const std::vector<ls::token_id> tokens(64 * 128);
  const std::vector<std::int64_t> next(64 * 128);
  std::printf("loss %f\n", trainer.step(tokens, next));
}
