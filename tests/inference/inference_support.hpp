// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/inference.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/parallel/parameters.hpp>

#include "support/catch.hpp"

namespace lockstep_test {

/// Uniform draws from (low, high).
class draws {
 public:
  explicit draws(std::uint64_t seed) : stream_(lockstep::seed{seed}, lockstep::random_purpose::synthetic_data) {}

  float operator()(float low, float high) { return low + (high - low) * stream_.uniform(next_++); }

 private:
  lockstep::random_stream stream_;
  std::uint64_t next_ = 0;
};

/// Parameters and buffers of a model, drawn so that every one of them matters.
template <class Model>
[[nodiscard]] std::vector<float> random_state(std::uint64_t seed = 1) {
  std::vector<float> all(static_cast<std::size_t>(lockstep::inference<Model>::state_size));
  draws draw(seed);
  const lockstep::detail::infer::model_state<Model> names;
  std::size_t at = 0;
  for (const auto& tensor : names.parameters()) {
    const bool variance = tensor.name().ends_with("running_var");
    const bool norm = tensor.shape().rank < 2 && tensor.name().ends_with("weight");
    const auto fan_in = static_cast<float>(tensor.shape().rank > 1 ? tensor.shape().size() / tensor.shape()[0] : 1);
    const float bound = std::sqrt(3.F / fan_in);
    for (std::int64_t i = 0; i < tensor.shape().size(); ++i)
      all[at++] = variance || norm ? draw(0.5F, 1.5F) : draw(-bound, bound);
  }
  return all;
}

[[nodiscard]] inline std::vector<float> random_values(std::int64_t count, std::uint64_t seed = 2) {
  std::vector<float> all(static_cast<std::size_t>(count));
  draws draw(seed);
  for (float& v : all) v = draw(-1.F, 1.F);
  return all;
}

/// What the reference backend computes in double.
template <class Model>
[[nodiscard]] std::vector<double> reference_outputs(const std::vector<float>& state, const std::vector<float>& x) {
  using backend = lockstep::reference<double>;
  constexpr const auto& plan = Model::template plan<backend>;
  std::vector<double> values(static_cast<std::size_t>(plan.value_count));
  std::size_t at = 0;
  for (const auto& tensor :
       lockstep::named_values_range<Model, backend, 1, true, lockstep::tensors::state>({values.data()})) {
    const auto size = static_cast<std::size_t>(tensor.size());
    tensor.assign(std::vector<double>(state.begin() + static_cast<std::ptrdiff_t>(at),
                                      state.begin() + static_cast<std::ptrdiff_t>(at + size)));
    at += size;
  }
  REQUIRE(at == state.size());
  const std::vector<double> in(x.begin(), x.end());
  const std::int64_t samples = static_cast<std::int64_t>(x.size()) / Model::input_dims.size();
  std::vector<double> y(static_cast<std::size_t>(samples * Model::output_dims.size()));
  lockstep::executor<Model, backend> executor;
  executor.forward(executor.load(values.data()), in.data(), samples, y.data());
  return y;
}

/// Requires that outputs are those wanted, within the rounding of float sums, relative to the largest.
template <class Wanted>
void require_close(std::span<const float> y, const Wanted& wanted, double tolerance = 2e-6) {
  REQUIRE(y.size() == wanted.size());
  double largest = 0;
  double distance = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    REQUIRE(std::isfinite(y[i]));
    largest = std::max(largest, std::abs(static_cast<double>(wanted[i])));
    distance = std::max(distance, std::abs(static_cast<double>(y[i]) - static_cast<double>(wanted[i])));
  }
  CAPTURE(largest, distance);
  REQUIRE(distance <= tolerance * largest);
}

/// Predicts with the code for vectors V, whatever the machine would choose; on the heap, where sanitizers see overruns.
template <class V, class Model>
[[nodiscard]] std::vector<float> predict_with(const std::vector<float>& state, const std::vector<float>& x) {
  using code = lockstep::detail::infer::instructions<Model>;
  const auto chosen = code::template of<V>();
  std::vector<float> packed(static_cast<std::size_t>(chosen.packed_size));
  chosen.pack(state.data(), packed.data());
  std::vector<float> arena(static_cast<std::size_t>(code::workspace_size), std::nanf(""));
  const std::int64_t samples = static_cast<std::int64_t>(x.size()) / Model::input_dims.size();
  std::vector<float> y(static_cast<std::size_t>(samples * Model::output_dims.size()));
  chosen.run(packed.data(), x.data(), y.data(), arena.data(), samples, nullptr);
  return y;
}

/// Holds a model against the reference, on every set of instructions that the machine has, for 1 and for 7 samples.
template <class Model>
void require_reference(double tolerance = 2e-6) {
  using namespace lockstep::detail::infer;
  const auto state = random_state<Model>();
  for (const std::int64_t samples : {1, 7}) {
    const auto x = random_values(samples * Model::input_dims.size());
    const auto wanted = reference_outputs<Model>(state, x);
    {
      INFO("vectors of 4");
      require_close(predict_with<float_x4, Model>(state, x), wanted, tolerance);
    }
    if (lockstep::cpu_backend::has<float_x8>()) {
      INFO("vectors of 8");
      require_close(predict_with<float_x8, Model>(state, x), wanted, tolerance);
    }
    if (lockstep::cpu_backend::has<float_x16>()) {
      INFO("vectors of 16");
      require_close(predict_with<float_x16, Model>(state, x), wanted, tolerance);
    }
  }
}

template <class Input, class... Layers>
void require_layers(double tolerance = 2e-6) {
  INFO(__PRETTY_FUNCTION__);
  require_reference<lockstep::model<lockstep::sequential<Layers...>, Input>>(tolerance);
}

}  // namespace lockstep_test
