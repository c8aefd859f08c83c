// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What it costs that batches differ in size from step to step. `fixed` trains on batches of one size, `varying` on
// sizes drawn evenly around it, of the same mean; both count samples, so that items_per_second compare. range(0) is the
// mean. `varying` counts the allocations of a step once the largest size has been met.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "counted_allocations.hpp"
#include "reference_models.hpp"

namespace {

namespace ls = lockstep;
using lockstep_bench::allocations;
using lockstep_bench::cnn;
using lockstep_bench::linear;
using lockstep_bench::mlp;
using lockstep_bench::random_batch;

using deeper_cnn = ls::model<
    ls::sequential<ls::conv2d<16, 3, ls::padding<1>>, ls::relu, ls::max_pool2d<2>, ls::conv2d<32, 3, ls::padding<1>>,
                   ls::relu, ls::max_pool2d<2>, ls::flatten, ls::linear<10>>,
    ls::input<3, 32, 32>, ls::cross_entropy>;

/// Sizes from `mean` - `spread` to `mean` + `spread`, each once and in an order without a pattern.
std::vector<std::int64_t> sizes_around(std::int64_t mean, std::int64_t spread) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = mean - spread; size <= mean + spread; ++size) sizes.push_back(size);
  const ls::random_stream random(ls::seed{5}, ls::random_purpose::synthetic_data, 0);
  for (std::size_t i = sizes.size() - 1; i > 0; --i)
    std::swap(sizes[i], sizes[random.below(static_cast<std::uint32_t>(i + 1), i)]);
  return sizes;
}

/// A round of steps, one for each of the sizes.
template <class Model, int N>
void train(benchmark::State& state, std::int64_t spread, bool varying) {
  const std::int64_t mean = state.range(0);
  const auto sizes = sizes_around(mean, spread);
  const random_batch<Model> all(mean + spread);
  ls::data_parallel<Model, N> trainer{ls::sgd{.learning_rate = 0.001F}};
  const std::int64_t targets_per_sample = all.targets.size() / (mean + spread);
  const auto step = [&](std::int64_t samples) {
    using images = typename ls::data_parallel<Model, N>::input_view;
    const std::span targets(all.targets.data(), static_cast<std::size_t>(samples * targets_per_sample));
    benchmark::DoNotOptimize(trainer.step(images(all.images.data(), samples), targets));
  };
  step(mean + spread);
  for (int i = 0; i < 10; ++i) step(mean);
  const std::size_t before = allocations.load();
  for (auto _ : state)
    for (const std::int64_t size : sizes) step(varying ? size : mean);
  const auto steps = static_cast<double>(state.iterations()) * static_cast<double>(sizes.size());
  state.SetItemsProcessed(static_cast<std::int64_t>(steps) * mean);
  state.counters["allocations"] = static_cast<double>(allocations.load() - before) / steps;
}

template <class Model, int N>
void fixed(benchmark::State& state) {
  train<Model, N>(state, state.range(0) / 2, false);
}
template <class Model, int N>
void varying(benchmark::State& state) {
  train<Model, N>(state, state.range(0) / 2, true);
}

}  // namespace

BENCHMARK(fixed<linear, 1>)->Arg(100)->UseRealTime();
BENCHMARK(varying<linear, 1>)->Arg(100)->UseRealTime();
BENCHMARK(fixed<linear, 2>)->Arg(100)->UseRealTime();
BENCHMARK(varying<linear, 2>)->Arg(100)->UseRealTime();
BENCHMARK(fixed<mlp, 1>)->Arg(64)->UseRealTime();
BENCHMARK(varying<mlp, 1>)->Arg(64)->UseRealTime();
BENCHMARK(fixed<cnn, 1>)->Arg(64)->UseRealTime();
BENCHMARK(varying<cnn, 1>)->Arg(64)->UseRealTime();
BENCHMARK(fixed<deeper_cnn, 1>)->Arg(64)->UseRealTime();
BENCHMARK(varying<deeper_cnn, 1>)->Arg(64)->UseRealTime();

BENCHMARK_MAIN();
