// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/segments.hpp>
#include <lockstep/parallel/ranks/rank_statistics.hpp>

namespace lockstep::detail {

/// What an engine's replicas measure of a batch, and the running statistics that come of it.
template <class Engine>
class measurement {
  using model = typename Engine::model_type;
  using backend = typename Engine::backend_type;
  using value = typename Engine::value_type;
  static constexpr const auto& plan = Engine::plan;
  static constexpr auto leaves = static_cast<std::size_t>(Engine::leaves);
  static constexpr auto own_leaves = static_cast<std::size_t>(Engine::leaves_per_replica);
  static constexpr bool has_ranks = Engine::has_ranks;

 public:
  explicit measurement(Engine& engine)
      : engine_(engine), over_ranks_(world()), staged_(buffer_count), staged_from_(buffer_count) {}

  /// Throws value_error when a channel of a batch of `samples` samples has one value, whose variance is nothing. Ranks
  /// may skip different layers, and must come to one answer: with ranks, layers that are skipped count as well.
  void check_batch(std::int64_t samples) const {
    if (samples > 0)
      check_values_per_channel<model, backend>(samples, false, [&](int leaf) { return has_ranks || runs(leaf); });
  }
  /// The same for layers of local statistics, and this process' part of the batch.
  void check_part(std::int64_t samples) const {
    if (samples == 0) return;
    std::int64_t fewest = samples;  // of a replica that has any
    for (int leaf = 0; leaf < Engine::leaves; leaf += Engine::leaves_per_replica)
      if (const auto own = Engine::replica::range(samples, leaf, Engine::leaves).count; own > 0)
        fewest = (std::min)(fewest, own);
    check_values_per_channel<model, backend>(fewest, true, [&](int leaf) { return runs(leaf); });
  }

  /// In the communication thread: combines over the ranks what a segment has measured. See rank_parts.
  void exchange(std::size_t index, bool failed) {
    constexpr int meetings = plan.segments - 1;
    auto& communicator = engine_.ranks.communicator();
    const auto leaf = [&](std::size_t k) -> const auto& { return leaf_of(k); };
    const auto all_reduce = [&](std::span<double> numbers) { engine_.ranks.all_reduce(numbers); };
    const auto meeting = static_cast<int>(index);
    if (meeting < meetings)
      over_ranks_.exchange_moments(meeting, communicator.rank(), communicator.size(), failed, leaf, all_reduce);
    else
      over_ranks_.exchange_sums(2 * meetings - 1 - meeting, failed, leaf, all_reduce);
  }

  /// For replica r, after the forward pass of a segment: combines what all leaves have measured in it.
  void combine_moments(int segment, std::size_t r) {
    detail::combine_moments<model, backend, parts, own_leaves>(
        segment, engine_.replicas[r]->batch(), [&](std::size_t k) -> const auto& { return part(k); },
        [&](std::size_t k) -> const auto& { return engine_.replicas[r]->measured(k); });
  }
  /// Before the backward pass of a segment: the sums that it needs.
  void combine_sums(int segment, std::size_t r) {
    detail::combine_sums<model, backend, parts, own_leaves>(
        segment, engine_.replicas[r]->batch(), [&](std::size_t k) -> const auto& { return part(k); },
        [&](std::size_t k) -> const auto& { return engine_.replicas[r]->measured(k); });
  }

  /// After a pass: computes the buffers that the next accepted step will have. Where somebody has written to the
  /// buffers since the first of several passes, they count from there.
  void stage() {
    const value* const before = buffers();
    if (!is_staged_ || std::memcmp(before, staged_from_.data(), buffer_count * sizeof(value)) != 0) {
      std::copy_n(before, buffer_count, staged_from_.data());
      staged_ = staged_from_;
    }
    if constexpr (has_ranks)
      update_buffers<model, backend>(over_ranks_.all(), staged_.data(), staged_.data());
    else
      update_buffers<model, backend>(engine_.replicas[0]->batch(), staged_.data(), staged_.data());
    is_staged_ = true;
  }
  /// A step is accepted.
  void commit() {
    if (std::exchange(is_staged_, false)) std::copy(staged_.begin(), staged_.end(), buffers());
  }
  /// The passes since the last step count for nothing.
  void drop() noexcept { is_staged_ = false; }

 private:
  static constexpr auto buffer_count = static_cast<std::size_t>(plan.value_count - plan.parameter_count);
  /// The parts of which the statistics of the whole batch are the sum: those of all ranks, once they are combined, or
  /// the leaves.
  static constexpr std::size_t parts = has_ranks ? 1 : leaves;

  [[nodiscard]] bool runs(int leaf) const { return engine_.skips.runs(static_cast<std::size_t>(leaf)); }

  [[nodiscard]] const leaf_statistics& part(std::size_t k) const {
    if constexpr (has_ranks)
      return over_ranks_.all();
    else
      return leaf_of(k);
  }
  [[nodiscard]] const leaf_statistics& leaf_of(std::size_t k) const {
    return engine_.replicas[k / own_leaves]->measured(k % own_leaves);
  }
  [[nodiscard]] value* buffers() const { return engine_.homes.front().parameters.data() + plan.parameter_count; }
  [[nodiscard]] int world() const {
    if constexpr (has_ranks)
      return engine_.ranks.communicator().size();
    else
      return 1;
  }

  Engine& engine_;
  [[no_unique_address]] std::conditional_t<has_ranks, rank_statistics<model, backend, leaves, own_leaves>,
                                           no_statistics>
      over_ranks_;
  std::vector<value> staged_;
  std::vector<value> staged_from_;  ///< the buffers as the first of these passes found them
  bool is_staged_ = false;
};

/// That of a model which measures nothing.
struct no_measurement {
  template <class Engine>
  explicit no_measurement(Engine&) {}
  static void stage() noexcept {}
  static void commit() noexcept {}
  static void drop() noexcept {}
};

}  // namespace lockstep::detail
