// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "memory.hpp"
#include "models.hpp"

/// \file
/// A training step on one GPU: forward, loss, backward and update by data_parallel<Model, N, cuda>, the loss read by
/// the host. The program's sources, one a model, compile side by side.

namespace lockstep_bench {

/// A batch in memory of its own.
template <class Model>
class placed_batch {
  using source = random_batch<Model>;
  using target = typename source::target;

 public:
  using input_view = lockstep::tensor_view<const float, lockstep::batch_shape<Model::input_dims>>;

  placed_batch(std::int64_t samples, placement where) : values_(samples) {
    if (where == placement::pageable) return;
    const std::int64_t size = values_.images.size();
    pinned_targets_ = allocate_pinned<target>(values_.targets.size());
    std::copy(values_.targets.begin(), values_.targets.end(), pinned_targets_.get());
    if (where == placement::pinned) {
      pinned_images_ = allocate_pinned<float>(size);
      std::copy(values_.images.begin(), values_.images.end(), pinned_images_.get());
    } else {
      device_images_ = allocate_device<float>(size);
      lockstep::cuda_backend::check(cudaMemcpy(device_images_.get(), values_.images.data(),
                                               static_cast<std::size_t>(size) * sizeof(float), cudaMemcpyHostToDevice),
                                    "a copy (cudaMemcpy)");
    }
  }

  [[nodiscard]] input_view images() const {
    const float* at = device_images_   ? device_images_.get()
                      : pinned_images_ ? pinned_images_.get()
                                       : values_.images.data();
    return input_view(at, values_.images.samples());
  }
  [[nodiscard]] std::span<const target> targets() const {
    return {pinned_targets_ ? pinned_targets_.get() : values_.targets.data(),
            static_cast<std::size_t>(values_.targets.size())};
  }

 private:
  source values_;
  pinned_memory<float> pinned_images_;
  pinned_memory<target> pinned_targets_;
  device_memory<float> device_images_;
};

/// The trainer that is alive. Making one costs far more than a step, and Google Benchmark calls a benchmark several
/// times: so one stays until another is asked for. main drops the last.
inline std::shared_ptr<void> kept_trainer;
inline const void* kept_type = nullptr;

template <class Trainer>
[[nodiscard]] Trainer& trainer_of() {
  static constexpr char type = 0;
  if (kept_type != &type) {
    kept_trainer.reset();
    kept_type = nullptr;
    kept_trainer = std::make_shared<Trainer>(lockstep::sgd{.learning_rate = 1e-3F});
    kept_type = &type;
  }
  return *static_cast<Trainer*>(kept_trainer.get());
}

/// state.range(0): samples a step.
template <class Model, int N, class Precision, placement Where>
void step(benchmark::State& state) try {
  auto& trainer = trainer_of<lockstep::data_parallel<Model, N, lockstep::cuda, Precision>>();
  const placed_batch<Model> batch(state.range(0), Where);
  // Libraries get ready in the first step, the second is recorded, the third is the first one like all others.
  for (int i = 0; i < 3; ++i) trainer.step(batch.images(), batch.targets());
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch.images(), batch.targets()));
  state.SetItemsProcessed(state.iterations() * state.range(0));
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

template <class Model, int N, class Precision, placement Where>
void register_step(const std::string& name, std::int64_t samples) {
  benchmark::RegisterBenchmark(name.c_str(), &step<Model, N, Precision, Where>)
      ->ArgName("batch")
      ->Arg(samples)
      ->UseRealTime();
}

template <class Model, int N, class Precision>
void register_places(const std::string& name, std::initializer_list<std::int64_t> batches) {
  for (const std::int64_t samples : batches) {
    register_step<Model, N, Precision, placement::pageable>(name + "/pageable", samples);
    register_step<Model, N, Precision, placement::pinned>(name + "/pinned", samples);
    register_step<Model, N, Precision, placement::device>(name + "/device", samples);
  }
}

/// `cnn/replicas:1/precision:fp32/pinned/batch:64/real_time` and the like.
template <class Model>
void register_steps(const std::string& model, std::initializer_list<std::int64_t> batches) {
  const auto with_replicas = [&]<int N>() {
    const std::string name = model + "/replicas:" + std::to_string(N);
    register_places<Model, N, lockstep::precision::fp32>(name + "/precision:fp32", batches);
    register_places<Model, N, lockstep::precision::tf32>(name + "/precision:tf32", batches);
    register_places<Model, N, lockstep::precision::bf16>(name + "/precision:bf16", batches);
  };
  with_replicas.template operator()<1>();
  with_replicas.template operator()<2>();
}

void register_linear();  ///< step_linear.cu
void register_cnn();     ///< step_cnn.cu
void register_mlp();     ///< step_mlp.cu
void register_deep();    ///< step_deep.cu

}  // namespace lockstep_bench
