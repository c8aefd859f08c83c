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
#include <lockstep/optim/parameter_groups.hpp>
#include <lockstep/parallel/trainer/group_pieces.hpp>

namespace lockstep::detail {

/// Which layers and composites of a model a trainer skips, and which parameters a step may therefore change: those of
/// the layers that some pass since the last step has used, on this rank or another. Counts for each layer how many
/// steps have changed its optimizer state, as PyTorch's optimizers do for each tensor. Knows for which of them the
/// optimizer's options differ.
template <class Model, class B, class Groups = parameter_groups<>, class Optimizer = void>
class layer_skips {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  /// Whether anything can be skipped. False for nearly all models, which then pay nothing for this class.
  static constexpr bool any = [] {
    for (const bool skippable : Model::skippable_leaves)
      if (skippable) return true;
    return !Model::skippable_parts.empty();
  }();
  static constexpr std::size_t layers = any ? Model::leaf_count : 0;
  /// Number of step counters: one for each layer where any layer may miss a step, else one for all layers.
  static constexpr std::size_t counters = any ? layers : 1;

  /// Most ranges that a step may change.
  static constexpr std::size_t ranges = pieces_of<Model, B, any, Groups, Optimizer>::value.count;

  layer_skips() {
    active_.reserve(ranges);
    taking_part_.fill(true);
    list_active();
  }

  /// Skips what is at a path, or runs it again. For any other path, throws value_error that names what can be skipped.
  void set(std::string_view path, bool skipped) {
    std::string known;
    bool found = false;
    for (std::size_t i = 0; i < all; ++i) {
      if (!can_be_skipped(i)) continue;
      const std::string_view own = path_of(i);
      if (own == path) flags_[i] = skipped, found = true;
      known.append(known.empty() ? "" : ", ").append(own);
    }
    if (!found) throw value_error("data_parallel::skip", "one of the skippable layers: " + known, std::string(path));
  }

  /// True when neither a layer nor a composite around it is skipped.
  [[nodiscard]] bool runs(std::size_t leaf) const {
    if constexpr (any)
      if (flags_[leaf]) return false;
    if constexpr (!Model::skippable_parts.empty())
      for (std::size_t part = 0; part < Model::skippable_parts.size(); ++part)
        if (flags_[layers + part] && leaf >= Model::skippable_parts[part].first_leaf &&
            leaf < Model::skippable_parts[part].last_leaf)
          return false;
    return true;
  }

  /// One flag for each layer and then for each composite that can be skipped, true for a skipped one; null when nothing
  /// can be. The address does not change.
  [[nodiscard]] const bool* flags() const noexcept { return any ? flags_.data() : nullptr; }

  /// A digit for each flag, 1 for a skipped layer or composite; empty when nothing can be skipped.
  [[nodiscard]] std::string flag_text() const {
    std::string text;
    for (const bool skipped : flags_) text += skipped ? '1' : '0';
    return text;
  }
  /// Whether such a text skips only what can be skipped.
  [[nodiscard]] static bool accepts(std::string_view text) {
    if (text.size() != all) return false;
    for (std::size_t i = 0; i < all; ++i)
      if (text[i] != '0' && (text[i] != '1' || !can_be_skipped(i))) return false;
    return true;
  }
  /// Skips what a text that it accepts says, and nothing else.
  void set_flags(std::string_view text) {
    for (std::size_t i = 0; i < all; ++i) flags_[i] = text[i] == '1';
  }

  /// For each layer, 1 when this rank uses it in the coming step, else 0: passes that accumulated have used it, or the
  /// pass of the step itself will. `with_pass`: the step has a pass on this rank.
  [[nodiscard]] std::array<double, layers> uses(bool with_pass) const {
    std::array<double, layers> uses{};
    for (std::size_t leaf = 0; leaf < layers; ++leaf) uses[leaf] = used_[leaf] || (with_pass && runs(leaf)) ? 1 : 0;
    return uses;
  }
  /// Settles what the coming step may change, from the result of `uses` or its sum over the ranks.
  void settle([[maybe_unused]] const std::array<double, layers>& uses) {
    if constexpr (any) {
      for (std::size_t leaf = 0; leaf < layers; ++leaf) taking_part_[leaf] = uses[leaf] > 0;
      list_active();
    } else {
      for (element_range& range : active_) range.state_steps = state_steps_[0];
    }
  }

  /// After a pass that only accumulates: the layers that it has used take part in the coming step.
  void keep() {
    if constexpr (any)
      for (std::size_t leaf = 0; leaf < layers; ++leaf) used_[leaf] = used_[leaf] || runs(leaf);
  }
  /// Forgets the passes that accumulated, after a step has used their gradients or when these are dropped.
  void drop() { used_.fill(false); }

  /// Counts a step that has changed the optimizer's state of the active layers.
  void count_state_step() noexcept {
    for (std::size_t i = 0; i < counters; ++i)
      if (!any || taking_part_[i]) ++state_steps_[i];
  }
  /// Starts counting anew, after the optimizer's state has been cleared.
  void reset_state_steps() noexcept { state_steps_.fill(0); }
  /// Number of steps that have changed the optimizer's state: one for each layer, or one for all layers when none can
  /// be skipped.
  [[nodiscard]] std::span<std::int64_t> state_steps() noexcept { return state_steps_; }
  [[nodiscard]] std::span<const std::int64_t> state_steps() const noexcept { return state_steps_; }

  /// The elements that the step may change, in ascending order.
  [[nodiscard]] const std::vector<element_range>& active() const noexcept { return active_; }

  /// A hash of the skipped layers and the active ranges: passes that differ in either enqueue different work.
  [[nodiscard]] std::uint64_t key() const noexcept {
    std::uint64_t hash = 0;
    for (const bool skipped : flags_) hash = hash * 31 + (skipped ? 2 : 1);
    if constexpr (any)
      for (const element_range& range : active_)
        hash = (hash * 31 + static_cast<std::uint64_t>(range.first)) * 31 + static_cast<std::uint64_t>(range.last);
    return hash;
  }

 private:
  static constexpr std::size_t all = any ? Model::leaf_count + Model::skippable_parts.size() : 0;

  [[nodiscard]] static constexpr bool can_be_skipped(std::size_t flag) {
    return flag >= layers || Model::skippable_leaves[flag];
  }
  [[nodiscard]] static constexpr std::string_view path_of(std::size_t flag) {
    if constexpr (!Model::skippable_parts.empty())
      if (flag >= layers) return Model::skippable_paths[flag - layers].view();
    return Model::paths[flag].view();
  }

  void list_active() {
    static constexpr const auto& pieces = pieces_of<Model, B, any, Groups, Optimizer>::value;
    active_.clear();
    for (std::size_t i = 0; i < pieces.count; ++i) {
      const group_piece& piece = pieces.all[i];
      if (any && !taking_part_[piece.leaf]) continue;
      const element_range range{piece.first, piece.last,  state_steps_[any ? piece.leaf : 0],
                                piece.rate,  piece.decay, piece.matrix};
      if (!active_.empty() && continues(active_.back(), range))
        active_.back().last = range.last;
      else
        active_.push_back(range);
    }
  }
  [[nodiscard]] static bool continues(const element_range& before, const element_range& range) noexcept {
    return before.matrix < 0 && range.matrix < 0 && before.last == range.first &&
           before.state_steps == range.state_steps && before.rate == range.rate && before.decay == range.decay;
  }

  std::array<bool, all> flags_{};           ///< of layers, then of composites
  std::array<bool, layers> used_{};         ///< by passes that accumulated
  std::array<bool, layers> taking_part_{};  ///< in the coming step
  std::array<std::int64_t, counters> state_steps_{};
  std::vector<element_range> active_;
};

}  // namespace lockstep::detail
