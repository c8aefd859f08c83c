// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/cuda.hpp>

#include "../reference_models.hpp"

/// \file
/// What one step takes on 1 to 8 replicas, over as many GPUs as there are and share them evenly, and what its parts
/// take by themselves: the scatter of a batch, the passes, and the sum of the gradients between GPUs.

namespace lockstep_bench {

namespace ls = lockstep;
using lockstep::cuda_backend::context;

/// GPUs that n replicas lie on.
[[nodiscard]] inline int gpus_of(int n) { return ls::cuda::devices(n).back() + 1; }

/// One thread and one context for each of n replicas, on GPUs of their own.
template <int N>
class replica_threads {
 public:
  replica_threads() {
    for (std::size_t r = 0; r < count; ++r)
      contexts_[r] = std::make_unique<context>(ls::replica_place{.device = static_cast<int>(r)});
  }

  /// Runs f(r, context) on all threads. Throws what the first of them threw.
  template <class F>
  void on_all(const F& f) {
    std::array<std::exception_ptr, count> errors{};
    const auto run = [&](std::size_t r) {
      try {
        const auto entered = contexts_[r]->enter();
        f(r, *contexts_[r]);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    };
    std::vector<std::thread> others;
    for (std::size_t r = 1; r < count; ++r) others.emplace_back(run, r);
    run(0);
    for (std::thread& other : others) other.join();
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

  /// Seconds that `repeats` calls of f(r, context) take on all threads, from when all begin to when all have ended.
  template <class F>
  [[nodiscard]] double seconds(int repeats, const F& f) {
    using clock = std::chrono::steady_clock;
    std::barrier<> gate(N);
    clock::time_point begin;
    clock::time_point end;
    on_all([&](std::size_t r, context& c) {
      gate.arrive_and_wait();
      if (r == 0) begin = clock::now();
      try {
        for (int i = 0; i < repeats; ++i) f(r, c);
        c.finish();
      } catch (...) {
        gate.arrive_and_drop();
        throw;
      }
      gate.arrive_and_wait();
      if (r == 0) end = clock::now();
    });
    return std::chrono::duration<double>(end - begin).count();
  }

 private:
  static constexpr auto count = static_cast<std::size_t>(N);
  std::array<std::unique_ptr<context>, count> contexts_;
};

constexpr int repeats_at_once = 20;

#if LOCKSTEP_HAS_NCCL()

/// The sum of state.range(0) bytes of gradients over N GPUs. bus: bytes that cross each GPU's link in a second by the
/// rule of nccl-tests, 2 (N - 1) / N of the bytes in each direction.
template <int N, bool Ordered>
void reduction(benchmark::State& state) try {
  const std::int64_t n = state.range(0) / std::int64_t{sizeof(float)};
  std::array<ls::cuda_backend::buffer<float>, N> values;  // ends behind the communicators
  replica_threads<N> replicas;
  ls::cuda_backend::collective<N> between;
  replicas.on_all([&](std::size_t r, context& c) { between.join(r, c); });
  replicas.on_all([&](std::size_t r, context& c) {
    if constexpr (Ordered) {
      values[r] = ls::cuda_backend::allocate<float>(c, n);
      between.reserve_ordered(r, c, n);
    } else {
      values[r] = between.allocate_shared(r, c, n);
    }
  });
  // Recorded, as the sums of a step are; the first call prepares, the second records.
  std::barrier<> prepared(N);
  const auto sums = [&](std::size_t r, context& c) {
    ls::cuda_backend::replay(
        c, 1,
        [&] {
          for (int i = 0; i < repeats_at_once; ++i) {
            if constexpr (Ordered)
              between.start_ordered_sum(r, c, n, values[r].data());
            else
              between.start_sum(r, c, n, values[r].data());
            between.await_sums(r, c);
          }
        },
        [&] { prepared.arrive_and_wait(); });
    between.finish(r, c);
  };
  static_cast<void>(replicas.seconds(3, sums));
  double total = 0;
  for (auto _ : state) {
    const double each = replicas.seconds(1, sums) / repeats_at_once;
    state.SetIterationTime(each);
    total += each;
  }
  replicas.on_all([](std::size_t, context& c) { ls::cuda_backend::forget(c); });
  const double bytes = static_cast<double>(state.range(0)) * static_cast<double>(state.iterations());
  state.counters["bus_GB_s"] = bytes * 2 * (N - 1) / N / total / 1e9;
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

#endif

/// state.range(0) bytes of pinned memory to N GPUs, to each its part.
template <int N>
void scatter(benchmark::State& state) try {
  const std::int64_t part = state.range(0) / std::int64_t{sizeof(float)} / N;
  replica_threads<N> replicas;
  const ls::cuda_backend::pinned<float> batch(0, part * N);
  std::array<ls::cuda_backend::buffer<float>, N> parts;
  replicas.on_all([&](std::size_t r, context& c) { parts[r] = ls::cuda_backend::allocate<float>(c, part); });
  const auto copy = [&](std::size_t r, context& c) {
    ls::cuda_backend::copy<float>(c, part, batch.get() + static_cast<std::int64_t>(r) * part, parts[r].data());
  };
  static_cast<void>(replicas.seconds(2, copy));
  for (auto _ : state) state.SetIterationTime(replicas.seconds(repeats_at_once, copy) / repeats_at_once);
  state.SetBytesProcessed(state.iterations() * part * N * std::int64_t{sizeof(float)});
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

/// Microseconds of a step that replica 0 spends on each kind of work, as a timeline shows them: layer by layer, with
/// nothing beside it.
template <class Trainer, class Batch>
void add_phases(benchmark::State& state, Trainer& trainer, const Batch& batch) {
  constexpr int steps = 5;
  ls::timeline record(Trainer::replicas, 4096);
  trainer.record(&record);
  for (int i = 0; i < steps; ++i) trainer.step(batch.images, batch.targets);
  trainer.record(nullptr);
  double passes = 0;
  double waits = 0;
  double update = 0;
  for (const ls::timeline_event& event : record.events(0)) {
    double& of = event.what == ls::activity::wait ? waits : event.what == ls::activity::update ? update : passes;
    of += static_cast<double>(event.end - event.begin) / 1e3 / steps;
  }
  state.counters["passes_us"] = passes;
  state.counters["wait_us"] = waits;
  state.counters["update_us"] = update;  // with the reduction
}

/// Steps of state.range(0) samples in all.
template <class Model, class Trainer>
void scaled_step(benchmark::State& state) try {
  const typename Trainer::loss_type loss{};
  Trainer trainer(ls::sgd{.learning_rate = 1e-3F}, loss,
                  ls::trainer_options{.devices = ls::cuda::devices(Trainer::replicas)});
  const random_batch<Model> batch(state.range(0));
  for (int i = 0; i < 3; ++i) trainer.step(batch.images, batch.targets);
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch.images, batch.targets));
  state.SetItemsProcessed(state.iterations() * state.range(0));
  add_phases(state, trainer, batch);
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

/// What a model is measured with. strong: samples in all; weak: samples for each replica. `seconds`: how long a
/// benchmark runs.
struct scaling_sizes {
  std::int64_t strong = 0;
  std::int64_t weak = 0;
  double seconds = 0.5;
};

/// `step/mlp/strong/automatic/replicas:4/gpus:2/batch:1024/real_time` and the like. `without overlap`: all gradients
/// are one bucket, which is complete when backward ends.
template <class Model, int... N>
void register_scaled_steps(const std::string& model, const scaling_sizes& sizes) {
  const auto one = [&]<class Trainer>(const std::string& kind) {
    constexpr int replicas = Trainer::replicas;
    for (const auto& [growth, samples] :
         {std::pair("strong", sizes.strong), std::pair("weak", sizes.weak * replicas)}) {
      const std::string name = "step/" + model + "/" + growth + "/" + kind + "/replicas:" + std::to_string(replicas) +
                               "/gpus:" + std::to_string(gpus_of(replicas));
      benchmark::RegisterBenchmark(name.c_str(), &scaled_step<Model, Trainer>)
          ->ArgName("batch")
          ->Arg(samples)
          ->MinTime(sizes.seconds)
          ->UseRealTime();
    }
  };
  const auto all = [&]<int Replicas>() {
    using automatic = ls::data_parallel<Model, Replicas, ls::cuda>;
    using reproducible = ls::data_parallel<Model, Replicas, ls::cuda, ls::reduce::reproducible>;
    one.template operator()<automatic>("automatic");
    if constexpr (Replicas > 1) {
      using late = ls::data_parallel<Model, Replicas, ls::cuda, ls::bucket_bytes<(std::int64_t{1} << 40U)>>;
      if (gpus_of(Replicas) == Replicas) one.template operator()<late>("automatic_without_overlap");
    }
    one.template operator()<reproducible>("reproducible");
  };
  (all.template operator()<N>(), ...);
}

/// Scatter and reduction of each number of bytes, on 2 GPUs or more.
template <int... N>
void register_parts(const std::vector<std::int64_t>& bytes, int iterations) {
  const auto one = [&]<int Gpus>() {
    if (ls::cuda_backend::device_count() < Gpus) return;
    const auto add = [&](const std::string& name, void (*run)(benchmark::State&)) {
      auto* made = benchmark::RegisterBenchmark((name + "/gpus:" + std::to_string(Gpus)).c_str(), run);
      made->ArgName("bytes")->UseManualTime()->Iterations(iterations);
      for (const std::int64_t each : bytes) made->Arg(each);
    };
    add("scatter", &scatter<Gpus>);
#if LOCKSTEP_HAS_NCCL()
    if constexpr (Gpus > 1) {
      add("reduction/automatic", &reduction<Gpus, false>);
      add("reduction/reproducible", &reduction<Gpus, true>);
    }
#endif
  };
  (one.template operator()<N>(), ...);
}

void register_scaled_mlp();   ///< scaling_mlp.cu
void register_scaled_wide();  ///< scaling_wide.cu

}  // namespace lockstep_bench
