// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <lockstep/generate/sampling.hpp>
#include <lockstep/io/checkpoints.hpp>
#include <lockstep/io/safetensors.hpp>
#include <lockstep/model/plan_table.hpp>
#include <lockstep/observe/report_data.hpp>
#include <lockstep/observe/trace.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/ranks/bucket_table.hpp>
#include <lockstep/parallel/with_replicas.hpp>

#include "conventions.hpp"
#include "data.hpp"
#include "networks.hpp"
#include "optimizer.hpp"
#include "replicas_built.hpp"

namespace lockstep_train {

template <class Model, int N, class Backend, class Reduction>
class model_trainer : public trainer {
  using parallel =
      lockstep::data_parallel<Model, N, Backend, Reduction, update_rule, typename conventions<Model>::groups>;
  using target = typename Model::loss_type::template target_type<float>;

 public:
  explicit model_trainer(const options& o)
      : parallel_({optimizer_of(o), {}}, {}, {.devices = o.devices, .rounding = rounding(o), .max_norm = o.max_norm}) {
    conventions<Model>::initialize(parallel_, lockstep::seed{o.seed});
  }

  double step(const batch& b) override { return parallel_.step(inputs(b), targets(b)); }

  score evaluate(const batch& b) override {
    const auto part = parallel_.evaluate(inputs(b), targets(b));
    return {part.loss_sum, part.denominator, part.correct, part.counted};
  }

  lockstep::dims output_shape(std::int64_t samples) override {
    lockstep::dims shape;
    if constexpr (!Model::takes_tokens[0]) {  // asked for where samples are rows
      const lockstep::tensor<float, typename parallel::input_shape> zeros(samples);
      const auto gathered = parallel_.forward(zeros);
      const auto out = gathered.view();
      shape.rank = static_cast<int>(out.rank());
      for (int i = 0; i < shape.rank; ++i) shape.extent[i] = out.extent(static_cast<std::size_t>(i));
    }
    return shape;
  }

  void follow(const chosen_schedule& schedule) override { parallel_.optimizer().schedule = schedule; }
  std::int64_t optimizer_states() const override { return static_cast<std::int64_t>(parallel_.optimizer().states()); }
  void load(const std::string& file) override { lockstep::load_safetensors(parallel_, file); }
  void save(const std::string& file, const lockstep::safetensors_metadata& notes) const override {
    lockstep::save_safetensors(parallel_, file, notes);
  }
  std::int64_t steps() const override { return parallel_.steps(); }
  void save_checkpoint(lockstep::checkpoints& to, batch_source& batches,
                       const lockstep::safetensors_metadata& notes) override {
    to.save(parallel_, batches, notes);
  }
  void restore_checkpoint(lockstep::checkpoints& from, batch_source& batches) override {
    static_cast<void>(from.restore(parallel_, batches));
  }
  std::string generate(std::string_view prompt, std::int64_t count, const lockstep::sampling& how) const override {
    return conventions<Model>::generate(parallel_, prompt, count, how);
  }
  bool finite() const override {
    for (const auto& tensor : parallel_.state())
      for (const auto value : tensor.values())
        if (!std::isfinite(static_cast<float>(value))) return false;
    return true;
  }
  void record(lockstep::timeline* to) override { parallel_.record(to); }

 private:
  static lockstep::factor_rounding rounding(const options& o) {
    return o.precision == arithmetic::tf32 ? lockstep::factor_rounding::tf32 : lockstep::factor_rounding::none;
  }

  static typename parallel::input_view inputs(const batch& b) {
    if constexpr (Model::takes_tokens[0])
      return typename parallel::input_view(b.tokens, b.samples);
    else
      return typename parallel::input_view(b.inputs, b.samples);
  }

  std::span<const target> targets(const batch& b) const {
    const auto size = static_cast<std::size_t>(b.samples * parallel_.loss().target_size(Model::output_dims));
    if constexpr (std::is_same_v<target, float>)
      return {b.values, size};
    else
      return {b.labels, size};
  }

  parallel parallel_;
};

template <class Model, class Backend, class Reduction, int... Counts>
[[nodiscard]] std::unique_ptr<trainer> make_trainer(const options& o, built_for<Counts...>) {
  std::unique_ptr<trainer> made;
  lockstep::with_replicas<Counts...>(
      o.replicas, [&]<int N> { made = std::make_unique<model_trainer<Model, N, Backend, Reduction>>(o); });
  return made;
}

template <class Model, class Backend, class Built>
[[nodiscard]] std::unique_ptr<trainer> make_trainer(const options& o) {
  if constexpr (Built::reproducible::any)
    if (o.reproducible)
      return make_trainer<Model, Backend, lockstep::reduce::reproducible>(o, typename Built::reproducible{});
  return make_trainer<Model, Backend, lockstep::reduce::automatic>(o, typename Built::automatic{});
}

template <class Model, class Backend, class Built = replicas_built<Backend>>
[[nodiscard]] network make_network() {
  return {.parameters = Model::parameter_count,
          .inputs = Model::input_dims.size(),
          .outputs = Model::output_dims.size(),
          .classifies = !std::is_same_v<typename Model::loss_type, lockstep::mean_squared_error>,
          .reads_text = Model::takes_tokens[0],
          .longest_prompt = conventions<Model>::longest_prompt,
          .plan = &lockstep::plan_table<Model, Backend>,
          .buckets = &lockstep::bucket_table<Model, Backend>,
          .write_trace = &lockstep::write_trace<Model, Backend>,
          .report = &lockstep::make_report_data<Model, Backend>,
          .make = &make_trainer<Model, Backend, Built>};
}

}  // namespace lockstep_train
