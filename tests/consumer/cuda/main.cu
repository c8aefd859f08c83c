// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <cstdio>

#include <lockstep/cuda.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::linear<10, 10>>;
using regression = ls::model<net, ls::input<10>, ls::mean_squared_error>;

// 0 as well where there is no GPU and the library says so in a sentence.
int main() {
  constexpr std::int64_t samples = 100;
  const ls::random_stream random(ls::seed{42}, ls::random_purpose::synthetic_data);
  ls::batch_of<float, 10> x(samples);
  ls::batch_of<float, 10> y(samples);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    x.data()[i] = random.uniform(static_cast<std::uint64_t>(2 * i));
    y.data()[i] = random.uniform(static_cast<std::uint64_t>(2 * i + 1));
  }

  try {
    ls::data_parallel<regression, 1, ls::cuda> trainer{ls::sgd{.learning_rate = 0.01F}};
    trainer.initialize(ls::seed{42});
    return std::isfinite(trainer.step(x, y)) ? 0 : 1;
  } catch (const ls::error& e) {
    std::puts(e.what());
    int devices = 0;
    return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0 ? 1 : 0;
  }
}
