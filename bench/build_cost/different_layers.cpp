// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

template <class Sizes>
struct layers;
template <std::int64_t... I>
struct layers<std::integer_sequence<std::int64_t, I...>> {
  using type = ls::sequential<ls::linear<16 + I>..., ls::linear<10>>;
};

// Three hundred layers, no two alike, so that no two share their code.
using net = layers<std::make_integer_sequence<std::int64_t, 300>>::type;
using classifier = ls::model<net, ls::input<16>, ls::cross_entropy>;

int main() {
  ls::data_parallel<classifier, 2> trainer{ls::sgd{.learning_rate = 0.01F}};
  const ls::batch_of<float, 16> rows(64);
  const std::vector<std::int64_t> labels(64);
  std::printf("loss %f\n", trainer.step(rows, labels));
}
