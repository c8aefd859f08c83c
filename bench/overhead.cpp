// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What a step costs beside its layers. `layers` is the bare executor and the optimizer, for a whole batch (1 replica)
// or for the larger shard (2 replicas); `step` is data_parallel. Counters are a step's: voluntary and involuntary
// context switches and page faults of the process, and allocations of this thread and all others.

#include <benchmark/benchmark.h>

#include <array>

#include <sys/resource.h>

#include "counted_allocations.hpp"
#include "reference_models.hpp"

namespace {

namespace ls = lockstep;
using lockstep_bench::allocations;
using lockstep_bench::cnn;
using lockstep_bench::linear;
using lockstep_bench::mlp;
using lockstep_bench::random_batch;

/// Counts over the steps of a benchmark.
class process_counters {
 public:
  process_counters() : before_(now()) {}

  void report(benchmark::State& state) const {
    constexpr std::array names{"voluntary_switches", "involuntary_switches", "page_faults", "allocations"};
    const auto after = now();
    for (std::size_t i = 0; i < names.size(); ++i)
      state.counters[names[i]] = static_cast<double>(after[i] - before_[i]) / static_cast<double>(state.iterations());
  }

 private:
  static std::array<long, 4> now() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return {usage.ru_nvcsw, usage.ru_nivcsw, usage.ru_minflt + usage.ru_majflt,
            static_cast<long>(allocations.load(std::memory_order_relaxed))};
  }

  std::array<long, 4> before_;
};

/// The layers' own time: forward, loss, backward and update of range(0) samples.
template <class Model>
void layers(benchmark::State& state) {
  const random_batch<Model> batch(state.range(0));
  ls::executor<Model, ls::cpu> executor;
  ls::aligned_buffer<float> parameters(Model::parameter_count), gradients(Model::parameter_count);
  ls::initialize_parameters<Model, ls::cpu>(parameters.data(), ls::seed{0});
  const ls::sgd optimizer{.learning_rate = 0.01F};
  std::int64_t step = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(executor.train(parameters.data(), gradients.data(), batch.images.data(),
                                            batch.targets.data(), state.range(0), {.scale = 0.01}));
    optimizer.rule<float>(step++,
                          [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
                            if constexpr (States == 0)
                              ls::cpu::reduce_and_update<1, 0>(executor.context(), 0, Model::parameter_count,
                                                               {gradients.data()}, parameters.data(), {}, rule);
                          });
  }
}

template <class Model, int N>
void step(benchmark::State& state) {
  const random_batch<Model> batch(state.range(0));
  ls::data_parallel<Model, N> trainer{ls::sgd{.learning_rate = 0.01F}};
  for (int i = 0; i < 10; ++i) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
  const process_counters counters;
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
  counters.report(state);
}

}  // namespace

BENCHMARK(layers<linear>)->Arg(100)->Arg(50)->UseRealTime();
BENCHMARK(step<linear, 1>)->Arg(100)->UseRealTime();
BENCHMARK(step<linear, 2>)->Arg(100)->UseRealTime();
BENCHMARK(layers<mlp>)->Arg(64)->Arg(32)->UseRealTime();
BENCHMARK(step<mlp, 1>)->Arg(64)->UseRealTime();
BENCHMARK(step<mlp, 2>)->Arg(64)->UseRealTime();
BENCHMARK(step<cnn, 1>)->Arg(64)->UseRealTime();
BENCHMARK(step<cnn, 2>)->Arg(64)->UseRealTime();

BENCHMARK_MAIN();
