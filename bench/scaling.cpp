// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// How a training step scales over replicas, as many as there are processors: `strong` shares one batch of range(0)
// samples, `weak` gives each replica so many. Counters: the shares of a replica's time in a step, a mean over the
// replicas, from a timeline of further steps.

#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <thread>

#include "reference_models.hpp"

namespace {

namespace ls = lockstep;
using lockstep_bench::cnn;
using lockstep_bench::linear;
using lockstep_bench::mlp;
using lockstep_bench::random_batch;

/// A larger network: five convolutions with strides and pooling.
using deep = ls::model<
    ls::sequential<ls::conv2d<32, 3, ls::padding<1>>, ls::relu, ls::conv2d<64, 3, ls::padding<1>, ls::stride<2>>,
                   ls::relu, ls::conv2d<64, 3, ls::padding<1>>, ls::relu, ls::max_pool2d<2>,
                   ls::conv2d<128, 3, ls::padding<1>>, ls::relu, ls::conv2d<128, 3, ls::padding<1>>, ls::relu,
                   ls::flatten, ls::linear<10>>,
    ls::input<3, 32, 32>, ls::cross_entropy>;

enum class scaling { strong, weak };

template <class Model, int N, scaling Kind>
void step(benchmark::State& state) {
  const std::int64_t samples = Kind == scaling::strong ? state.range(0) : N * state.range(0);
  const random_batch<Model> batch(samples);
  ls::data_parallel<Model, N> trainer{ls::sgd{.learning_rate = 0.01F}};
  for (int i = 0; i < 3; ++i) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
  state.SetItemsProcessed(state.iterations() * samples);

  // The shares come from steps of their own, so that the time above holds no clock reads.
  ls::timeline times(N, 1 << 16);
  trainer.record(&times);
  for (int i = 0; i < 20; ++i) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
  std::array<double, 7> spent{};
  double all = 0;
  for (int r = 0; r < N; ++r)
    for (const ls::timeline_event& e : times.events(r)) {
      const auto length = static_cast<double>(e.end - e.begin);
      spent[static_cast<std::size_t>(e.what)] += length;
      all += length;
    }
  const auto share = [&](ls::activity what) { return 100 * spent[static_cast<std::size_t>(what)] / all; };
  state.counters["forward_%"] = share(ls::activity::forward) + share(ls::activity::loss);
  state.counters["backward_%"] = share(ls::activity::backward);
  state.counters["update_%"] = share(ls::activity::update);
  state.counters["wait_%"] = share(ls::activity::wait);
}

template <class Model, int N>
void add(const std::string& model, std::int64_t samples) {
  if (N > 1 && N > static_cast<int>(std::thread::hardware_concurrency())) return;
  const std::string end = "/" + std::to_string(N);
  benchmark::RegisterBenchmark(("strong/" + model + end).c_str(), step<Model, N, scaling::strong>)
      ->Arg(samples)
      ->UseRealTime();
  benchmark::RegisterBenchmark(("weak/" + model + end).c_str(), step<Model, N, scaling::weak>)
      ->Arg(samples / 2)
      ->UseRealTime();
}

template <class Model>
void add_all(const std::string& model, std::int64_t samples) {
  add<Model, 1>(model, samples);
  add<Model, 2>(model, samples);
  add<Model, 4>(model, samples);
  add<Model, 8>(model, samples);
}

}  // namespace

int main(int argc, char** argv) {
  add_all<linear>("linear", 100);
  add_all<mlp>("mlp", 64);
  add_all<cnn>("cnn", 64);
  add_all<deep>("deep", 32);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
