// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "models/unet_small.hpp"

namespace ls = lockstep;

using painter = ls::model<models::unet_small<1>, ls::input<3, 32, 32>, ls::mean_squared_error>;

int main() {
  ls::data_parallel<painter, 2> trainer{ls::sgd{.learning_rate = 0.01F}};
  const ls::batch_of<float, 3, 32, 32> images(64);
  const std::vector<float> targets(64 * 32 * 32);
  std::printf("loss %f\n", trainer.step(images, targets));
}
