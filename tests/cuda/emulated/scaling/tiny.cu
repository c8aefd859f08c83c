// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../../../../bench/cuda/device_main.hpp"
#include "../../../../bench/cuda/scaling.hpp"

/// \file
/// cuda_scaling with a model and sizes that the emulation is done with at once: it shows that the benchmarks run.

namespace {

namespace ls = lockstep;
using tiny = ls::model<ls::sequential<ls::linear<6>, ls::relu, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;

}  // namespace

int main(int argc, char** argv) {
  return lockstep_bench::device_main(argc, argv, [] {
    lockstep_bench::register_parts<1, 2, 4>({64, 80 << 10}, 2);
    lockstep_bench::register_scaled_steps<tiny, 1, 2>("tiny", {.strong = 8, .weak = 4, .seconds = 0.01});
  });
}
