// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdint>
#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                           ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>;
using classifier = ls::model<net, ls::input<3, 32, 32>, ls::cross_entropy>;

int main() {
  ls::data_parallel<classifier, 2> trainer{ls::sgd{.learning_rate = 0.01F}};
  const ls::batch_of<float, 3, 32, 32> images(64);
  const std::vector<std::int64_t> labels(64);
  for (int i = 0; i < 10; ++i) std::printf("loss %f\n", trainer.step(images, labels));
}
