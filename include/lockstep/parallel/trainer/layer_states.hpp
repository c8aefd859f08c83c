// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep::detail {

/// Elements of a sample's state in each layer that carries one from step to step, and the layer's leaf.
struct carried_layer {
  std::size_t leaf = 0;
  std::int64_t size = 0;
};

template <class Layer, bool Carries>
[[nodiscard]] constexpr std::int64_t carried_size(const dims& in) {
  if constexpr (Carries)
    return Layer::kept_values(in, in[0]);
  else
    return 0;
}

/// The layers of a model that carry states, in their order.
template <class Model>
inline constexpr auto carrying_layers = [] {
  constexpr auto count = [] {
    std::size_t carrying = 0;
    for (std::size_t i = 0; i < Model::leaf_count; ++i)
      carrying += Model::graph.leaves[i].traits.carries_state ? 1U : 0U;
    return carrying;
  }();
  std::array<carried_layer, count> all{};
  if constexpr (count > 0) {
    constexpr auto sizes = []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
      return std::array{
          carried_size<typename Model::template leaf<Leaf>, Model::graph.leaves[Leaf].traits.carries_state>(
              Model::graph.leaves[Leaf].in)...};
    }(std::make_index_sequence<Model::leaf_count>{});
    std::size_t next = 0;
    for (std::size_t i = 0; i < Model::leaf_count; ++i)
      if (sizes[i] > 0) all[next++] = {.leaf = i, .size = sizes[i]};
  }
  return all;
}();

/// The states that layers carry from one training step to the next, of the samples of this process' batches. Passes
/// read those that the last accepted step has left, and write others; when their own step is accepted, the two change
/// places. So a step that fails leaves the states as they were, and a layer may run its forward pass twice.
template <class Model, class Activation>
class layer_states {
  static constexpr const auto& layers = carrying_layers<Model>;

 public:
  static constexpr bool any = !layers.empty();

  layer_states() = default;
  layer_states(const layer_states&) = delete;
  layer_states& operator=(const layer_states&) = delete;

  /// Where the passes of all replicas find the states; null where no layer carries any.
  [[nodiscard]] const carried_states<Activation>* places() const noexcept { return any ? &places_ : nullptr; }
  /// Samples that have states; 0: all begin with zeros.
  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }

  /// Before a pass over `samples` samples more of a step, which it completes when `last`: makes room for what they
  /// leave. Throws shape_error when the step has not as many samples as the one before.
  void expect(std::int64_t samples, bool last) {
    if constexpr (!any) return;
    const std::int64_t all = staged_ + samples;
    if (samples_ > 0 && (last ? all != samples_ : all > samples_))
      throw shape_error("data_parallel",
                        "a batch of " + std::to_string(samples_) + (samples_ == 1 ? " sample" : " samples") +
                            ", as many as have states of the step before",
                        std::to_string(all), "call reset_states() before a batch of another size");
    for (std::size_t i = 0; i < layers.size(); ++i)
      for (auto* side : {&before_[i], &after_[i]})
        if (const auto size = static_cast<std::size_t>(checked_multiply(all, layers[i].size)); side->size() < size)
          side->resize(size);
    point();
  }
  /// After such a pass. `runs(leaf)`: whether it has run the layer; one that it has skipped keeps its states.
  template <class Runs>
  void stage(std::int64_t samples, const Runs& runs) {
    if constexpr (!any) return;
    for (std::size_t i = 0; i < layers.size(); ++i)
      if (!runs(layers[i].leaf)) keep(i, staged_, staged_ + samples);
    staged_ += samples;
    places_.first = staged_;
  }
  /// The step of the passes since the last one is accepted.
  void commit() {
    if (staged_ == 0) return;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      keep(i, staged_, samples_);
      before_[i].swap(after_[i]);
    }
    samples_ = (std::max)(samples_, staged_);
    drop();
    point();
  }
  /// The passes since the last step count for nothing.
  void drop() noexcept { staged_ = places_.first = 0; }

  /// The next step begins with zeros, and may have any number of samples.
  void reset() {
    for (auto& each : before_) std::fill(each.begin(), each.end(), Activation{0});
    samples_ = 0;
    drop();
  }

  /// Gives the next step states of so many samples: lists[i] has those of the i-th layer that carries any.
  template <class Lists>
  void restore(std::int64_t samples, const Lists& lists) {
    reset();
    expect(samples, true);
    for (std::size_t i = 0; i < layers.size(); ++i) std::copy(lists[i].begin(), lists[i].end(), before_[i].begin());
    samples_ = samples;
  }

  /// Calls f(path of the layer, size of a sample's state, states) for each layer that carries any.
  template <class F>
  static void each_layer(const F& f) {
    for (const carried_layer& layer : layers) f(Model::paths[layer.leaf].view(), layer.size);
  }
  /// The states of the i-th of these layers.
  [[nodiscard]] std::span<const Activation> values(std::size_t i) const {
    return std::span(before_[i]).first(static_cast<std::size_t>(samples_ * layers[i].size));
  }

 private:
  /// Samples [first, last) keep their states in layer i.
  void keep(std::size_t i, std::int64_t first, std::int64_t last) {
    if (first < last)
      std::copy_n(before_[i].data() + first * layers[i].size, (last - first) * layers[i].size,
                  after_[i].data() + first * layers[i].size);
  }
  void point() {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      before_at_[layers[i].leaf] = before_[i].data();
      after_at_[layers[i].leaf] = after_[i].data();
    }
  }

  static constexpr std::size_t leaf_count = any ? Model::leaf_count : 0;

  std::int64_t samples_ = 0;
  std::int64_t staged_ = 0;  ///< of the passes since the last step
  std::array<std::vector<Activation>, layers.size()> before_;
  std::array<std::vector<Activation>, layers.size()> after_;
  std::array<const Activation*, leaf_count> before_at_{};
  std::array<Activation*, leaf_count> after_at_{};
  carried_states<Activation> places_{.before = before_at_.data(), .after = after_at_.data(), .first = 0};
};

}  // namespace lockstep::detail
