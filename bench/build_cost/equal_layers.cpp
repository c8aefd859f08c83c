// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdint>
#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

// Five hundred layers of one kind and size, which share their code.
using net = ls::sequential<ls::repeat<500, ls::linear<16>>, ls::linear<10>>;
using classifier = ls::model<net, ls::input<16>, ls::cross_entropy>;

int main() {
  ls::data_parallel<classifier, 2> trainer{ls::sgd{.learning_rate = 0.01F}};
  const ls::batch_of<float, 16> rows(64);
  const std::vector<std::int64_t> labels(64);
  std::printf("loss %f\n", trainer.step(rows, labels));
}
