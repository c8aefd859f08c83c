// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/precision.hpp>

#include "cuda/networks.hpp"
#include "golden/golden.hpp"

namespace lockstep_test {

/// 20 steps of a model in bfloat16, on one replica and on two, against PyTorch under autocast.
template <class Backend, class Model>
void check_autocast(const std::string& name, const ls::sgd& optimizer, const golden_tolerance& tolerance) {
  const auto golden = golden_file(name + "_bf16");
  check_golden_batch<ls::data_parallel<Model, 1, Backend, ls::precision::bf16>>(golden, name + "/b64", 64, optimizer,
                                                                                tolerance);
  check_golden_batch<ls::data_parallel<Model, 2, Backend, ls::precision::bf16>>(golden, name + "/b64", 64, optimizer,
                                                                                tolerance);
}

template <class Backend>
void check_autocast(const golden_tolerance& tolerance) {
  check_autocast<Backend, golden_linear>("linear", {.learning_rate = 0.01F}, tolerance);
  check_autocast<Backend, golden_cnn>("cnn", {.learning_rate = 0.01F}, tolerance);
  check_autocast<Backend, golden_mlp>("mlp", {.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F},
                                      tolerance);
}

}  // namespace lockstep_test
