// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/model/network.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// The parameters and buffers of a model as one range in the order of torch's state_dict: what a prediction is made of.

namespace lockstep::detail::infer {

/// Where each layer's tensors begin in the range; those of tied layers lie at one place.
template <class Model>
inline constexpr auto state_offsets = [] {
  std::array<std::int64_t, Model::leaf_count + 1> offsets{};
  std::int64_t end = 0;
  for (std::size_t i = 0; i < Model::leaf_count; ++i) {
    const placed_leaf& leaf = Model::graph.leaves[i];
    if (leaf.owner != static_cast<int>(i)) {
      offsets[i] = offsets[static_cast<std::size_t>(leaf.owner)];
      continue;
    }
    offsets[i] = end;
    end = checked_add(end, checked_add(leaf.parameters.size(false), leaf.parameters.size(true)));
  }
  offsets[Model::leaf_count] = end;
  return offsets;
}();
template <class Model>
inline constexpr std::int64_t state_size = state_offsets<Model>[Model::leaf_count];

/// One tensor of a state: what load_safetensors assigns to.
class state_tensor {
 public:
  state_tensor(std::string name, const parameter_spec& spec, std::span<float> values)
      : name_(std::move(name)), shape_(spec.shape), counts_(spec.counts), values_(values) {}

  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  [[nodiscard]] dims shape() const noexcept { return shape_; }
  [[nodiscard]] bool counts() const noexcept { return counts_; }
  [[nodiscard]] std::vector<float> values() const { return {values_.begin(), values_.end()}; }
  void assign(std::span<const float> values) const { std::copy(values.begin(), values.end(), values_.begin()); }

 private:
  std::string name_;
  dims shape_;
  bool counts_;
  std::span<float> values_;
};

/// All of them.
template <class Model>
class model_state {
 public:
  model_state() : values_(static_cast<std::size_t>(state_size<Model>)) {
    std::span<float> rest(values_);
    for (std::size_t i = 0; i < Model::leaf_count; ++i) {
      const placed_leaf& leaf = Model::graph.leaves[i];
      if (leaf.owner != static_cast<int>(i)) continue;
      for (int p = 0; p < leaf.parameters.count; ++p) {
        const parameter_spec& spec = leaf.parameters.items[p];
        std::string name(Model::paths[i].view());
        if (!name.empty()) name += '.';
        const auto size = static_cast<std::size_t>(spec.shape.size());
        tensors_.emplace_back(name.append(spec.name), spec, rest.first(size));
        rest = rest.subspan(size);
      }
    }
  }
  model_state(const model_state&) = delete;
  model_state& operator=(const model_state&) = delete;

  [[nodiscard]] std::span<const state_tensor> parameters() const noexcept { return tensors_; }
  [[nodiscard]] std::span<const float> values() const noexcept { return values_; }

 private:
  std::vector<float> values_;
  std::vector<state_tensor> tensors_;
};

/// Parameters and buffers of a trainer or predictor, or of what has parameters alone.
template <class Holder>
  requires requires(const Holder& holder) { holder.parameters(); }
[[nodiscard]] decltype(auto) tensors_in(const Holder& holder) {
  if constexpr (requires { holder.state(); })
    return holder.state();
  else
    return holder.parameters();
}

/// A trainer or predictor: has named tensors of floats.
template <class T>
concept state_holder = requires(const T& holder) {
  { (*tensors_in(holder).begin()).name() } -> std::convertible_to<std::string_view>;
  { (*tensors_in(holder).begin()).shape() } -> std::convertible_to<dims>;
  { (*tensors_in(holder).begin()).values() } -> std::convertible_to<std::vector<float>>;
};

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_tensor(std::string_view expected, std::string_view given) {
  throw value_error("inference", expected, given, "give a trainer of the same model");
}

/// Copies a trainer's tensors. Throws value_error or shape_error when they have other names or shapes.
template <class Model, state_holder Holder>
void copy_state(const Holder& holder, const model_state<Model>& to) {
  const std::span<const state_tensor> own = to.parameters();
  std::size_t next = 0;
  for (const auto& given : tensors_in(holder)) {
    const std::string_view name = given.name();
    if (next == own.size()) refuse_tensor("no further parameter", name);
    const state_tensor& wanted = own[next++];
    if (name != wanted.name()) refuse_tensor(wanted.name(), name);
    if (given.shape() != wanted.shape())
      throw shape_error("inference", std::string(name).append(" as ").append(to_string(wanted.shape())),
                        to_string(given.shape()), "give a trainer of the same model");
    wanted.assign(given.values());
  }
  if (next < own.size()) refuse_tensor(own[next].name(), "no further parameter");
}

}  // namespace lockstep::detail::infer
