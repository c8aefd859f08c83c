// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Steps of one replica in a function that promises not to block: the realtime sanitizer ends a program that allocates,
// locks or asks the system for anything in one. With an argument the first step, which prepares, runs there too, and
// must be ended.

#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

namespace {

using perceptron = ls::model<ls::sequential<ls::linear<64>, ls::relu, ls::linear<32>, ls::tanh, ls::linear<10>>,
                             ls::input<24>, ls::cross_entropy>;
/// A convolution of each kind that kernels of the library's own compute.
using pictures =
    ls::model<ls::sequential<ls::conv2d<16, 5>, ls::relu, ls::max_pool2d<2>, ls::conv2d<32, 3, ls::padding<1>>,
                             ls::batch_norm2d<>, ls::relu, ls::flatten, ls::linear<10>>,
              ls::input<1, 28, 28>, ls::cross_entropy>;

template <class Trainer>
double steps(Trainer& trainer, const std::vector<float>& x, const std::vector<std::int64_t>& y) [[clang::nonblocking]] {
  double loss = 0;
  for (int i = 0; i < 3; ++i) loss += trainer.step(x, y);
  return loss;
}

template <class Model>
double train(bool prepare) {
  ls::data_parallel<Model, 1, ls::adam> trainer;
  const std::int64_t batch = 40;
  const std::vector<float> x(static_cast<std::size_t>(batch * Model::input_dims.size()), 0.5F);
  const std::vector<std::int64_t> y(static_cast<std::size_t>(batch), 3);
  for (int i = 0; prepare && i < 3; ++i) static_cast<void>(trainer.step(x, y));
  return steps(trainer, x, y);
}

}  // namespace

int main(int count, char**) {
  const bool prepare = count == 1;
  const double loss = train<perceptron>(prepare) + train<pictures>(prepare);
  return loss == loss ? 0 : 1;
}
