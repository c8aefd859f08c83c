// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The quick start on a GPU: one policy more, in a .cu file. Takes the folder of CIFAR-10's binary version; without one
// it draws a data set of its own.
//
//   cuda-train-cnn [FOLDER]

#include <cstdio>
#include <exception>

#include <lockstep/cuda.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>,  // 3x32x32 -> 64x32x32
                           ls::relu,                                               //
                           ls::flatten,                                            //
                           ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>;         // in-features stated: checked

using classifier = ls::model<net, ls::input<3, 32, 32>, ls::cross_entropy>;

int main(int argc, char** argv) try {
  auto [train, test] = argc > 1 ? ls::data::cifar10(argv[1]) : ls::data::synthetic();
  ls::data_parallel<classifier, 2, ls::cuda> trainer{ls::sgd{.learning_rate = 0.01F}};  // 2 replicas on one GPU
  trainer.initialize(ls::seed{42});

  for (auto&& [images, labels] : ls::data::loader{train, {.batch = 64, .shuffle = true}})
    std::printf("loss %.4f\n", trainer.step(images, labels));

  ls::evaluation result;
  for (auto&& [images, labels] : ls::data::loader{test, {.batch = 250}}) result += trainer.evaluate(images, labels);
  std::printf("test accuracy %.2f %%\n", 100 * result.accuracy());

  ls::save_safetensors(trainer, "model.safetensors");  // opens in PyTorch as conv1.weight, ...
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "cuda-train-cnn: %s\n", error.what());
  return 1;
}
