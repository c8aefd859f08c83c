// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A training step of the three reference models: the bare model (executor and optimizer, no trainer around them), and
// data_parallel with 1 and 2 replicas, under reduce::automatic and reduce::reproducible. The difference of the first
// two is what data_parallel costs.

#include <benchmark/benchmark.h>

#include <array>

#include "reference_models.hpp"

namespace {

namespace ls = lockstep;
using lockstep_bench::cnn;
using lockstep_bench::linear;
using lockstep_bench::mlp;
using lockstep_bench::random_batch;

/// What a step is without data_parallel: denominator, forward, loss, backward, update.
template <class Model>
void bare_model(benchmark::State& state) {
  const random_batch<Model> batch(state.range(0));
  ls::executor<Model, ls::cpu> executor;
  ls::aligned_buffer<float> parameters(Model::parameter_count);
  ls::aligned_buffer<float> gradients(Model::parameter_count);
  ls::initialize_parameters<Model, ls::cpu>(parameters.data(), ls::seed{0});
  const typename Model::loss_type loss;
  const ls::sgd optimizer{.learning_rate = 0.01F};
  std::int64_t step = 0;
  for (auto _ : state) {
    const double denominator = loss.denominator(batch.targets.data(), batch.targets.size(), Model::output_dims);
    benchmark::DoNotOptimize(executor.train(parameters.data(), gradients.data(), batch.images.data(),
                                            batch.targets.data(), state.range(0), {.scale = 1.0 / denominator}));
    optimizer.rule<float>(step++,
                          [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
                            if constexpr (States == 0)
                              ls::cpu::reduce_and_update<1, 0>(executor.context(), 0, Model::parameter_count,
                                                               {gradients.data()}, parameters.data(), {}, rule);
                          });
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

template <class Model, int N, class Reduction = ls::reduce::automatic>
void data_parallel_step(benchmark::State& state) {
  const random_batch<Model> batch(state.range(0));
  ls::data_parallel<Model, N, Reduction> trainer{ls::sgd{.learning_rate = 0.01F}};
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

}  // namespace

BENCHMARK(bare_model<cnn>)->Arg(64)->UseRealTime();
BENCHMARK(data_parallel_step<cnn, 1>)->Arg(64)->UseRealTime();
BENCHMARK(data_parallel_step<cnn, 2>)->Arg(64)->UseRealTime();
BENCHMARK(data_parallel_step<cnn, 1, ls::reduce::reproducible>)->Arg(64)->UseRealTime();
BENCHMARK(data_parallel_step<cnn, 2, ls::reduce::reproducible>)->Arg(64)->UseRealTime();
BENCHMARK(bare_model<mlp>)->Arg(64)->UseRealTime();
BENCHMARK(data_parallel_step<mlp, 1>)->Arg(64)->UseRealTime();
BENCHMARK(data_parallel_step<mlp, 2>)->Arg(64)->UseRealTime();
BENCHMARK(data_parallel_step<mlp, 2, ls::reduce::reproducible>)->Arg(64)->UseRealTime();
BENCHMARK(bare_model<linear>)->Arg(100)->UseRealTime();
BENCHMARK(data_parallel_step<linear, 1>)->Arg(100)->UseRealTime();
BENCHMARK(data_parallel_step<linear, 2>)->Arg(100)->UseRealTime();

BENCHMARK_MAIN();
