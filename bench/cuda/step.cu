// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "step.hpp"

#include "device_main.hpp"

int main(int argc, char** argv) {
  using namespace lockstep_bench;
  const int code = device_main(argc, argv, [] {
    register_linear();
    register_cnn();
    register_mlp();
    register_deep();
  });
  kept_trainer.reset();
  return code;
}
