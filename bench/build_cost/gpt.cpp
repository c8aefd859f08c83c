// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdint>
#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "models/gpt.hpp"

namespace ls = lockstep;

using writer = ls::model<models::gpt<4, 4, 128, 128, 256>, ls::tokens<128>, ls::cross_entropy>;

int main() {
  ls::data_parallel<writer, 2, ls::adamw> trainer{ls::adamw{.learning_rate = 0.001}};
  const std::vector<ls::token_id> tokens(16 * 128);
  const std::vector<std::int64_t> next(16 * 128);
  std::printf("loss %f\n", trainer.step(tokens, next));
}
