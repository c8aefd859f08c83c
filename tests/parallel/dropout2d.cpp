// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <vector>

#include "parallel/parallel_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::named<"conv", ls::conv2d<9, 3>>, ls::gelu<>, ls::dropout2d<0.4>, ls::conv2d<4, 2>,
                           ls::tanh, ls::flatten, ls::linear<6>, ls::softplus<>, ls::linear<5>>;
using model = ls::model<net, ls::input<2, 5, 5>, ls::cross_entropy>;

struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> parameters;
};

template <int N, class B>
trained train() {
  ls::data_parallel<model, N, B> trainer(ls::sgd{.learning_rate = 0.1F});
  trainer.initialize(ls::seed{3});
  using value = typename decltype(trainer)::value_type;
  trained result;
  std::uint64_t stream = 1;
  for (const std::int64_t samples : {12, 7, 2}) {
    const auto x = draws<value>(stream, samples * model::input_dims.size());
    result.losses.push_back(trainer.step(batch<model>(x), class_draws(stream + 1, samples, 5)));
    stream += 2;
  }
  result.parameters = as_doubles(trainer.parameters());
  return result;
}

template <class B>
void check_replicas(double allowed) {
  const trained one = train<1, B>();
  for (const trained& more : {train<2, B>(), train<3, B>()}) {
    CHECK(relative_difference(more.losses, one.losses) <= allowed);
    for (std::size_t p = 0; p < one.parameters.size(); ++p) {
      INFO("parameter " << p);
      CHECK(relative_difference(more.parameters[p], one.parameters[p]) <= allowed);
    }
  }
}

}  // namespace

TEST_CASE("dropout2d drops the same channels for any number of replicas", "[dropout]") {
  check_replicas<ls::reference<double>>(1e-12);
  check_replicas<ls::cpu>(1e-5);
}
