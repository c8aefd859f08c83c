// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

struct distributed_sampler_options {
  std::int64_t batch = 64;  ///< samples in a batch of all ranks together, the loader's `.batch`
  int rank = 0;
  int world_size = 1;
};

/// Draws one rank's part of the sequence of `Base`, which must be the same on all ranks: same sampler, same seed.
///
/// The sampler cuts the sequence into batches as on one rank, and each batch into one contiguous piece a rank, in the
/// order of the ranks. So the pieces of step k together are batch k of a single rank; every entry of the sequence goes
/// to exactly one rank, and none is repeated to make the ranks even. The entries left over in a batch are dealt round
/// robin, and the dealing continues from one batch to the next: two ranks differ by at most one sample in every batch,
/// and in the epoch.
///
/// Every rank has steps() steps. A rank may have no sample in some steps: in a last batch of fewer samples than ranks,
/// say. A loader then yields a batch of size zero, with which the rank takes part in the step.
template <sampler Base>
  requires(!ranked_sampler<Base>)
class distributed_sampler {
 public:
  /// Throws value_error when `batch` or `world_size` is below one, `rank` is outside 0 .. world_size - 1, or the base
  /// is made for batches of another size.
  explicit distributed_sampler(Base base, const distributed_sampler_options& options)
      : base_(std::move(base)),
        batch_(detail::checked_batch("distributed_sampler", options.batch)),
        rank_(options.rank),
        world_size_(options.world_size) {
    if (world_size_ < 1)
      throw value_error("distributed_sampler", "a world of one rank or more", std::to_string(world_size_));
    if (rank_ < 0 || rank_ >= world_size_)
      throw value_error("distributed_sampler", lockstep::detail::message({"a rank from 0 to ", world_size_ - 1}),
                        std::to_string(rank_));
    if constexpr (batched_sampler<Base>)
      if (base_.batch() != batch_)
        throw value_error("distributed_sampler",
                          lockstep::detail::message({".batch = ", base_.batch(), ", which its base is made for"}),
                          std::to_string(batch_), "give both the batch of all ranks together");
  }

  [[nodiscard]] std::int64_t samples() const noexcept { return base_.samples(); }

  /// Entries of this rank in an epoch.
  [[nodiscard]] std::int64_t size() const noexcept {
    const batch_part last = part(steps() - 1);
    return last.first + last.size;
  }

  /// Entries of all ranks in an epoch.
  [[nodiscard]] std::int64_t global_size() const noexcept { return base_.size(); }

  /// Samples in a whole batch of all ranks together.
  [[nodiscard]] std::int64_t batch() const noexcept { return batch_; }

  /// An upper bound of the samples that a step has on any rank.
  [[nodiscard]] std::int64_t local_batch() const noexcept {
    const std::int64_t largest = (std::min)(batch_, global_size());
    return largest / world_size_ + (largest % world_size_ != 0 ? 1 : 0);
  }

  /// Steps in an epoch, the same on every rank. The last may have a partial batch.
  [[nodiscard]] std::int64_t steps() const noexcept {
    return global_size() / batch_ + (global_size() % batch_ != 0 ? 1 : 0);
  }

  /// The sampler whose sequence the ranks share.
  [[nodiscard]] const Base& base() const noexcept { return base_; }
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int world_size() const noexcept { return world_size_; }

  /// Returns where the samples of a step lie; 0 <= step < steps().
  [[nodiscard]] batch_part part(std::int64_t step) const noexcept {
    const std::int64_t begin = step * batch_;
    const std::int64_t batch = (std::min)(batch_, global_size() - begin);
    const std::int64_t even = batch / world_size_;
    const std::int64_t dealt = step * (batch_ % world_size_);  // left over in the batches before
    const std::int64_t dealt_now = dealt + batch % world_size_;
    const std::int64_t before = to_ranks_below(rank_, dealt_now) - to_ranks_below(rank_, dealt);
    const std::int64_t up_to = to_ranks_below(rank_ + 1, dealt_now) - to_ranks_below(rank_ + 1, dealt);
    const std::int64_t own = to_ranks_below(rank_ + 1, dealt) - to_ranks_below(rank_, dealt);
    return {step * (batch_ / world_size_) + own, begin + rank_ * even + before, even + up_to - before};
  }

  void draw(std::uint64_t epoch, std::span<std::int64_t> order) const {
    detail::check_order("distributed_sampler", order.size(), size());
    std::vector<std::int64_t> all(static_cast<std::size_t>(global_size()));
    draw_all(epoch, all);
    for (std::int64_t step = 0; step < steps(); ++step) {
      const batch_part p = part(step);
      std::copy_n(all.data() + p.first_index, p.size, order.data() + p.first);
    }
  }

  /// Writes the order of all ranks together.
  void draw_all(std::uint64_t epoch, std::span<std::int64_t> order) const { base_.draw(epoch, order); }

 private:
  /// Returns how many of the first `dealt` left-over entries, dealt round robin, go to the ranks below `rank`.
  [[nodiscard]] std::int64_t to_ranks_below(int rank, std::int64_t dealt) const noexcept {
    return dealt / world_size_ * rank + std::min<std::int64_t>(dealt % world_size_, rank);
  }

  Base base_;
  std::int64_t batch_;
  int rank_;
  int world_size_;
};

}  // namespace lockstep::data
