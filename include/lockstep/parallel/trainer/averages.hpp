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
    element(std::string_view name, const dims& shape, std::vector<T> values)
        : name_(name), shape_(shape), values_(std::move(values)) {}

    [[nodiscard]] std::string_view name() const noexcept { return name_; }
    [[nodiscard]] const dims& shape() const noexcept { return shape_; }
    [[nodiscard]] std::vector<T> values() const { return values_; }

   private:
    std::string name_;
    dims shape_;
    std::vector<T> values_;
  };

  explicit parameter_values(std::vector<element> all) : all_(std::move(all)) {}

  [[nodiscard]] const std::vector<element>& parameters() const& noexcept { return all_; }
  [[nodiscard]] std::vector<element> parameters() && { return std::move(all_); }

 private:
  std::vector<element> all_;
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
  const named_values_range<model, backend, 1, false> parameters({home.parameters.data()}, engine.front());
  const named_values_range<model, backend, 1, false> averages({home.update.state(state).data()}, engine.front());
  std::vector<typename all_values::element> all;
  auto average = averages.begin();
  for (const auto& parameter : parameters) {
    const plan_node& node = Engine::plan.nodes[static_cast<std::size_t>(Engine::plan.parameters[all.size()].node)];
    const std::size_t counter = Engine::skips_type::any ? static_cast<std::size_t>(node.leaf) : 0;
    const bool averaged = !node.frozen && engine.skips.state_steps()[counter] > 0;
    all.emplace_back(parameter.name(), parameter.shape(), averaged ? (*average).values() : parameter.values());
    ++average;
  }
  return all_values(std::move(all));
}

}  // namespace detail

}  // namespace lockstep
