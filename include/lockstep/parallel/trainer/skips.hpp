// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/model/element_range.hpp>
#include <lockstep/model/plan.hpp>

namespace lockstep::detail {

/// Which layers of a model a trainer skips, and which of its parameters a step may therefore change: those of layers
/// that some pass has used since the last step, on this rank or another. Counts by layer how many steps have changed
/// the optimizer's state, as PyTorch's optimizers do by tensor.
template <class Model, class B>
class layer_skips {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  /// False for nearly all models; then nothing here costs anything.
  static constexpr bool any = [] {
    for (const bool skippable : Model::skippable_leaves)
      if (skippable) return true;
    return false;
  }();
  static constexpr std::size_t layers = any ? Model::leaf_count : 0;
  /// Counters of steps: one for each layer where any may miss a step, else one for all.
  static constexpr std::size_t counters = any ? layers : 1;

  layer_skips() {
    active_.reserve(counters);
    active_.push_back({0, plan.trainable_count});
  }

  /// Skips the layer at a path, or runs it again. Throws value_error, naming those that can be skipped.
  void set(std::string_view path, bool skipped) {
    std::string known;
    for (std::size_t leaf = 0; leaf < layers; ++leaf) {
      if (!Model::skippable_leaves[leaf]) continue;
      if (Model::paths[leaf].view() == path) {
        flags_[leaf] = skipped;
        return;
      }
      known.append(known.empty() ? "" : ", ").append(Model::paths[leaf].view());
    }
    throw value_error("data_parallel::skip", "one of the skippable layers: " + known, std::string(path));
  }

  /// A flag for each layer, or null; the address stays.
  [[nodiscard]] const bool* flags() const noexcept { return any ? flags_.data() : nullptr; }

  /// Of each layer 1 when it takes part in the coming step as far as this rank knows, else 0: passes that accumulated
  /// have used it, or the pass of the step itself will, when there is one.
  [[nodiscard]] std::array<double, layers> uses(bool with_pass) const {
    std::array<double, layers> all{};
    for (std::size_t leaf = 0; leaf < layers; ++leaf) all[leaf] = used_[leaf] || (with_pass && !flags_[leaf]) ? 1 : 0;
    return all;
  }
  /// The same, or its sum over the ranks: settles what the coming step may change.
  void settle([[maybe_unused]] const std::array<double, layers>& uses) {
    if constexpr (any) {
      active_.clear();
      for (const plan_node& node : plan.nodes) {
        if (node.leaf < 0 || !node.learns()) continue;
        const auto leaf = static_cast<std::size_t>(node.leaf);
        taking_part_[leaf] = uses[leaf] > 0;
        if (!taking_part_[leaf]) continue;
        const std::int64_t end = node.parameter_offset + node.parameter_size;
        // Nodes come in the order of their parameters.
        if (!active_.empty() && active_.back().last == node.parameter_offset &&
            active_.back().state_steps == state_steps_[leaf])
          active_.back().last = end;
        else
          active_.push_back({node.parameter_offset, end, state_steps_[leaf]});
      }
    } else {
      active_[0].state_steps = state_steps_[0];
    }
  }

  /// After a pass that only accumulates: what it has used takes part in the step to come.
  void keep() {
    if constexpr (any)
      for (std::size_t leaf = 0; leaf < layers; ++leaf) used_[leaf] = used_[leaf] || !flags_[leaf];
  }
  /// After a step, or without one: passes that accumulated count no more.
  void drop() { used_.fill(false); }

  /// After a step that has changed the optimizer's state of what is active.
  void count_state_step() noexcept {
    for (std::size_t i = 0; i < counters; ++i)
      if (!any || taking_part_[i]) ++state_steps_[i];
  }
  /// The optimizer's state has been cleared.
  void reset_state_steps() noexcept { state_steps_.fill(0); }
  /// Steps that have changed the optimizer's state: of each layer, or of all alike when none can be skipped.
  [[nodiscard]] std::span<std::int64_t> state_steps() noexcept { return state_steps_; }
  [[nodiscard]] std::span<const std::int64_t> state_steps() const noexcept { return state_steps_; }

  /// What the step may change, in order.
  [[nodiscard]] const std::vector<element_range>& active() const noexcept { return active_; }

  /// Differs when the update enqueues different work.
  [[nodiscard]] std::uint64_t key() const noexcept {
    std::uint64_t hash = 0;
    for (const bool skipped : flags_) hash = hash * 31 + (skipped ? 2 : 1);
    if constexpr (any)
      for (const element_range& range : active_)
        hash = (hash * 31 + static_cast<std::uint64_t>(range.first)) * 31 + static_cast<std::uint64_t>(range.last);
    return hash;
  }

 private:
  std::array<bool, layers> flags_{};
  std::array<bool, layers> used_{};         ///< by passes that accumulated
  std::array<bool, layers> taking_part_{};  ///< in the coming step
  std::array<std::int64_t, counters> state_steps_{};
  std::vector<element_range> active_;
};

}  // namespace lockstep::detail
