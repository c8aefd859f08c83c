// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// How much of a slow link a training step hides: a deep network, as one of the machines of a simulated ring, with
// links of 1, 10 and 100 Gbit/s. `compute` has no link at all; in `one_bucket` nothing can be hidden, since all
// gradients leave together behind the last backward.
//
// Counters: `link_ms` is the time that the link is busy in a step, `exposed` the part of it in which nothing is
// computed.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>

#include <lockstep/comm/simulated_link.hpp>
#include <lockstep/comm/threads.hpp>

#include "reference_models.hpp"

namespace {

namespace ls = lockstep;
using lockstep_bench::random_batch;

template <int Out>
using layer = ls::sequential<ls::conv2d<Out, 3, ls::padding<1>>, ls::relu>;

/// A dozen convolutions, 64 wide.
using deep = ls::model<
    ls::sequential<layer<64>, layer<64>, layer<64>, layer<64>, layer<64>, layer<64>, layer<64>, layer<64>, layer<64>,
                   layer<64>, layer<64>, layer<64>, ls::avg_pool2d<16>, ls::flatten, ls::linear<10>>,
    ls::input<3, 16, 16>, ls::cross_entropy>;

using link = ls::simulated_link<ls::comm::thread_rank>;
using one_bucket = ls::bucket_bytes<(std::int64_t{1} << 30U), (std::int64_t{1} << 30U)>;

constexpr std::int64_t batch_size = 16;
constexpr int machines = 8;
constexpr double latency = 5e-6;

template <int N>
void compute(benchmark::State& state) {
  const random_batch<deep> batch(batch_size);
  ls::data_parallel<deep, N> trainer{ls::sgd{.learning_rate = 0.01F}};
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
}

/// range(0): Gbit/s of every link.
template <int N, class... Policies>
void linked(benchmark::State& state) {
  const random_batch<deep> batch(batch_size);
  ls::comm::threads hub(1);
  ls::data_parallel<deep, N, link, Policies...> trainer{
      ls::sgd{.learning_rate = 0.01F},
      link(hub.take(0),
           {.latency = latency, .bandwidth = 1e9 * static_cast<double>(state.range(0)), .world = machines})};
  constexpr std::int64_t events = 4096;
  ls::timeline times(N + 1, events);
  double exposed = 0;
  const double busy_before = trainer.communicator().busy_seconds();
  for (auto _ : state) {
    times.clear();
    trainer.record(&times);
    benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
    // Replica 0 waits only for what is communicated behind its last backward (and for other replicas).
    for (const ls::timeline_event& e : times.events(0))
      if (e.what == ls::activity::wait) exposed += static_cast<double>(e.end - e.begin);
  }
  const auto steps = static_cast<double>(state.iterations());
  state.counters["link_ms"] = 1e3 * (trainer.communicator().busy_seconds() - busy_before) / steps;
  state.counters["exposed_ms"] = 1e-6 * exposed / steps;
}

}  // namespace

BENCHMARK(compute<1>)->UseRealTime();
BENCHMARK(linked<1>)->Arg(1)->Arg(10)->Arg(100)->UseRealTime();
BENCHMARK(linked<1, one_bucket>)->Arg(1)->Arg(10)->Arg(100)->UseRealTime();
BENCHMARK(compute<2>)->UseRealTime();
BENCHMARK(linked<2>)->Arg(10)->UseRealTime();

BENCHMARK_MAIN();
