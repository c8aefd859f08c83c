// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/parallel/parameters.hpp>

namespace lockstep {

/// Values under parameters' names, in PyTorch's order: what a predictor or save_safetensors takes in a trainer's place.
template <class T>
class parameter_values {
 public:
  class element {
   public:
    element(std::string_view name, const dims& shape, bool counts, std::vector<T> values)
        : name_(name), shape_(shape), counts_(counts), values_(std::move(values)) {}

    [[nodiscard]] std::string_view name() const noexcept { return name_; }
    [[nodiscard]] const dims& shape() const noexcept { return shape_; }
    [[nodiscard]] bool counts() const noexcept { return counts_; }
    [[nodiscard]] std::vector<T> values() const { return values_; }

   private:
    std::string name_;
    dims shape_;
    bool counts_;
    std::vector<T> values_;
  };

  /// All tensors in the model's order, and the parameters among them.
  parameter_values(std::vector<element> state, std::vector<element> parameters)
      : parameters_(std::move(parameters)), state_(std::move(state)) {}

  [[nodiscard]] const std::vector<element>& parameters() const& noexcept { return parameters_; }
  [[nodiscard]] std::vector<element> parameters() && { return std::move(parameters_); }
  /// Parameters and buffers.
  [[nodiscard]] const std::vector<element>& state() const& noexcept { return state_; }
  [[nodiscard]] std::vector<element> state() && { return std::move(state_); }

 private:
  std::vector<element> parameters_;
  std::vector<element> state_;
};

namespace detail {

/// The averages that an engine's optimizer keeps; of a parameter that no step has changed, and of a frozen one, its
/// value.
template <class Engine>
[[nodiscard]] auto averages_of(Engine& engine) {
  using model = typename Engine::model_type;
  using backend = typename Engine::backend_type;
  using all_values = parameter_values<typename Engine::value_type>;
  constexpr std::size_t state = Engine::optimizer_type::average_state;
  engine.check_whole();
  auto& home = engine.homes.front();
  const named_values_range<model, backend, 1, false, tensors::state> now({home.parameters.data()}, engine.front());
  const named_values_range<model, backend, 1, false, tensors::state> averages({home.update.state(state).data()},
                                                                              engine.front());
  std::vector<typename all_values::element> all;
  std::vector<typename all_values::element> parameters;
  auto average = averages.begin();
  for (const auto& each : now) {
    const plan_parameter& spec = each.spec();
    const plan_node& node = Engine::plan.node(spec.node);
    const std::size_t counter = Engine::skips_type::any ? static_cast<std::size_t>(node.leaf) : 0;
    const bool averaged = spec.learns && engine.skips.state_steps()[counter] > 0;
    all.emplace_back(each.name(), each.shape(), each.counts(), averaged ? (*average).values() : each.values());
    if (!spec.buffer) parameters.push_back(all.back());
    ++average;
  }
  return all_values(std::move(all), std::move(parameters));
}

}  // namespace detail

}  // namespace lockstep
