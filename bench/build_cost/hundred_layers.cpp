// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdint>
#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

// A hundred layers, no two convolutions alike, so that no two share their code.
using net = ls::sequential<
    ls::conv2d<16, 3, ls::padding<1>>, ls::relu, ls::conv2d<8, 1>, ls::relu, ls::conv2d<17, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<9, 1>, ls::relu, ls::conv2d<18, 3, ls::padding<1>>, ls::relu, ls::conv2d<10, 1>, ls::relu,
    ls::conv2d<19, 3, ls::padding<1>>, ls::relu, ls::conv2d<11, 1>, ls::relu, ls::conv2d<20, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<12, 1>, ls::relu, ls::conv2d<21, 3, ls::padding<1>>, ls::relu, ls::conv2d<13, 1>, ls::relu,
    ls::conv2d<22, 3, ls::padding<1>>, ls::relu, ls::conv2d<14, 1>, ls::relu, ls::conv2d<23, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<15, 1>, ls::relu, ls::conv2d<24, 3, ls::padding<1>>, ls::relu, ls::conv2d<16, 1>, ls::relu,
    ls::conv2d<25, 3, ls::padding<1>>, ls::relu, ls::conv2d<17, 1>, ls::relu, ls::conv2d<26, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<18, 1>, ls::relu, ls::conv2d<27, 3, ls::padding<1>>, ls::relu, ls::conv2d<19, 1>, ls::relu,
    ls::conv2d<28, 3, ls::padding<1>>, ls::relu, ls::conv2d<20, 1>, ls::relu, ls::conv2d<29, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<21, 1>, ls::relu, ls::conv2d<30, 3, ls::padding<1>>, ls::relu, ls::conv2d<22, 1>, ls::relu,
    ls::conv2d<31, 3, ls::padding<1>>, ls::relu, ls::conv2d<23, 1>, ls::relu, ls::conv2d<32, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<24, 1>, ls::relu, ls::conv2d<33, 3, ls::padding<1>>, ls::relu, ls::conv2d<25, 1>, ls::relu,
    ls::conv2d<34, 3, ls::padding<1>>, ls::relu, ls::conv2d<26, 1>, ls::relu, ls::conv2d<35, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<27, 1>, ls::relu, ls::conv2d<36, 3, ls::padding<1>>, ls::relu, ls::conv2d<28, 1>, ls::relu,
    ls::conv2d<37, 3, ls::padding<1>>, ls::relu, ls::conv2d<29, 1>, ls::relu, ls::conv2d<38, 3, ls::padding<1>>,
    ls::relu, ls::conv2d<30, 1>, ls::relu, ls::conv2d<39, 3, ls::padding<1>>, ls::relu, ls::conv2d<31, 1>, ls::relu,
    ls::conv2d<40, 3, ls::padding<1>>, ls::relu, ls::conv2d<32, 1>, ls::relu, ls::flatten, ls::linear<10>>;
using classifier = ls::model<net, ls::input<3, 16, 16>, ls::cross_entropy>;

int main() {
  ls::data_parallel<classifier, 2> trainer{ls::sgd{.learning_rate = 0.01F}};
  const ls::batch_of<float, 3, 16, 16> images(64);
  const std::vector<std::int64_t> labels(64);
  std::printf("loss %f\n", trainer.step(images, labels));
}
