// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

namespace lockstep {

/// A group of ranks that hold equally long buffers. Every rank makes the same calls in the same order, each rank from
/// one thread at a time; a call returns when this rank may use its buffer again. Errors are exceptions.
///
/// `all_reduce(v)` leaves the sum over the ranks in every rank's v, with the same bits on each; `broadcast(v, root)`
/// copies the root's v to all; `barrier()` returns when every rank has called it.
template <class C>
concept communicator = requires(C& c, std::span<float> values, std::span<double> wide, int root) {
  { c.rank() } -> std::convertible_to<int>;
  { c.size() } -> std::convertible_to<int>;
  c.all_reduce(values);
  c.all_reduce(wide);
  c.broadcast(values, root);
  c.barrier();
};

/// One learnable tensor inside a bucket: a row-major matrix, of the backend's layout of PyTorch's weight, whose rows
/// are its outermost extent; or a vector (columns == 1).
struct bucket_tensor {
  std::int64_t offset = 0;  ///< from the start of the bucket, elements
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  [[nodiscard]] constexpr std::int64_t size() const { return rows * columns; }
};

/// A bucket as a reduction hook sees it: a contiguous range of the flat gradients, closed in backward order.
struct bucket_view {
  int index = 0;
  std::span<float> gradients;              ///< summed over this rank's replicas; the hook leaves the sum over all ranks
  std::span<const bucket_tensor> tensors;  ///< in the order in which they lie; padding between them is possible
};

/// How a bucket is reduced over the ranks: called as hook(communicator, bucket) for every bucket of every step, in the
/// same order on all ranks. A hook owns its state (residuals, factors) and makes it when it first meets a bucket.
template <class H, class C>
concept reduction_hook = communicator<C> && requires(H& h, C& c, const bucket_view& b) { h(c, b); };

/// A hook whose state a failed step leaves as it was: after a step on all ranks, or after one that failed on any,
/// `commit` or `rollback` is called, on all ranks alike. `has_state` tells whether it keeps any of the buckets it has
/// met, which then must stay the same ones.
template <class H>
concept stateful_hook = requires(H& h, const H& c) {
  h.commit();
  h.rollback();
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
