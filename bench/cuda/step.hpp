// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "memory.hpp"
#include "models.hpp"

/// \file
/// A training step on one GPU: forward, loss, backward and update by data_parallel<Model, N, cuda, precision>, the loss
/// read by the host. The program's sources, one a model, compile side by side.

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
[[nodiscard]] Trainer& kept_trainer_of(lockstep::factor_rounding rounding) {
  static constexpr char types[3] = {};  // by rounding
  const void* const type = &types[static_cast<std::size_t>(rounding)];
  if (kept_type != type) {
    kept_trainer.reset();
    kept_type = nullptr;
    const typename Trainer::loss_type loss{};
    kept_trainer = std::make_shared<Trainer>(lockstep::sgd{.learning_rate = 1e-3F}, loss,
                                             lockstep::trainer_options{.rounding = rounding});
    kept_type = type;
  }
  return *static_cast<Trainer*>(kept_trainer.get());
}

/// state.range(0): samples a step.
template <class Model, class Trainer>
void step(benchmark::State& state, lockstep::factor_rounding rounding, placement where) try {
  auto& trainer = kept_trainer_of<Trainer>(rounding);
  const placed_batch<Model> batch(state.range(0), where);
  // Libraries get ready in the first step, the second is recorded, the third is the first one like all others.
  for (int i = 0; i < 3; ++i) trainer.step(batch.images(), batch.targets());
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch.images(), batch.targets()));
  state.SetItemsProcessed(state.iterations() * state.range(0));
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

/// `cnn/replicas:1/precision:fp32/pinned/batch:64/real_time` and the like.
template <class Model>
void register_steps(const std::string& model, std::initializer_list<std::int64_t> batches) {
  using lockstep::factor_rounding;
  const auto with_trainer = [&]<class Trainer>(const std::string& precision, factor_rounding rounding) {
    for (const std::int64_t samples : batches)
      for (const auto& [where, place] :
           {std::pair("pageable", placement::pageable), std::pair("pinned", placement::pinned),
            std::pair("device", placement::device)}) {
        const std::string name =
            model + "/replicas:" + std::to_string(Trainer::replicas) + "/precision:" + precision + "/" + where;
        benchmark::RegisterBenchmark(name.c_str(), &step<Model, Trainer>, rounding, place)
            ->ArgName("batch")
            ->Arg(samples)
            ->UseRealTime();
      }
  };
  const auto with_replicas = [&]<int N>() {
    using wide = lockstep::data_parallel<Model, N, lockstep::cuda>;
    using narrow = lockstep::data_parallel<Model, N, lockstep::cuda, lockstep::precision::bf16>;
    with_trainer.template operator()<wide>("fp32", factor_rounding::none);
    with_trainer.template operator()<wide>("tf32", factor_rounding::tf32);
    with_trainer.template operator()<narrow>("bf16", factor_rounding::none);
  };
  with_replicas.template operator()<1>();
  with_replicas.template operator()<2>();
}

void register_linear();  ///< step_linear.cu
void register_cnn();     ///< step_cnn.cu
void register_mlp();     ///< step_mlp.cu
void register_deep();    ///< step_deep.cu

}  // namespace lockstep_bench
