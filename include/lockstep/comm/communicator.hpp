// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <cstdint>
#include <span>

namespace lockstep {

/// A rank's view of a group of ranks that hold buffers of equal length. Every rank makes the same calls in the same
/// order, from one thread at a time; a call returns when this rank may use its buffer again. Errors are exceptions.
///
/// `all_reduce(v)` leaves the sum over the ranks in every rank's v, with the same bits on each; `broadcast(v, root)`
/// copies the root's v to all; `barrier()` returns when every rank has called it.
///
/// A communicator may have `abort(reason)`, which makes the other ranks' calls throw, now and later. A trainer calls it
/// when its hook throws; without it the other ranks wait for one that does not come.
template <class C>
concept communicator = requires(C& c, std::span<float> values, std::span<double> wide, int root) {
  { c.rank() } -> std::convertible_to<int>;
  { c.size() } -> std::convertible_to<int>;
  c.all_reduce(values);
  c.all_reduce(wide);
  c.broadcast(values, root);
  c.barrier();
};

/// One learnable tensor inside a bucket: a vector (columns == 1), or a weight in the backend's layout, read as a
/// row-major matrix whose rows are the outermost extent.
struct bucket_tensor {
  std::int64_t offset = 0;  ///< in elements, from the start of the bucket
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  [[nodiscard]] constexpr std::int64_t size() const { return rows * columns; }
};

/// A bucket as a reduction hook sees it: a contiguous range of the flat gradients. The backward pass completes the
/// buckets in the order of their indices.
struct bucket_view {
  int index = 0;
  std::span<float> gradients;              ///< in: the sum over this rank's replicas; out: the sum over all ranks
  std::span<const bucket_tensor> tensors;  ///< by offset; there may be padding between them
};

/// Reduces a bucket over the ranks. The trainer calls hook(communicator, bucket) for every bucket that some rank uses
/// in a step, in the same order on all ranks. A hook owns its state (residuals, factors) and creates it on a bucket's
/// first call.
template <class H, class C>
concept reduction_hook = communicator<C> && requires(H& h, C& c, const bucket_view& b) { h(c, b); };

/// A hook that can undo what a failed step did to its state. After a step that succeeded on all ranks the trainer calls
/// `commit`, after one that failed on any rank `rollback`, on all ranks alike. `has_state` tells whether the hook keeps
/// state for the buckets it has met; while it does, the buckets must stay the same.
template <class H>
concept stateful_hook = requires(H& h, const H& c) {
  { h.commit() } noexcept;
  { h.rollback() } noexcept;
  { c.has_state() } -> std::convertible_to<bool>;
};

/// The plain hook: a sum in full precision.
struct all_reduce_hook {
  template <communicator C>
  void operator()(C& c, const bucket_view& bucket) const {
    c.all_reduce(bucket.gradients);
  }
};

}  // namespace lockstep
