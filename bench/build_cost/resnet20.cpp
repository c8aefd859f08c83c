// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdint>
#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "models/resnet20.hpp"

namespace ls = lockstep;

using classifier = ls::model<models::resnet20<10>, ls::input<3, 32, 32>, ls::cross_entropy>;

int main() {
  ls::data_parallel<classifier, 2> trainer{ls::sgd{.learning_rate = 0.01F}};
  const ls::batch_of<float, 3, 32, 32> images(64);
  const std::vector<std::int64_t> labels(64);
  std::printf("loss %f\n", trainer.step(images, labels));
}
