// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>

#include <lockstep/parallel/ranks/bucket.hpp>

namespace lockstep::detail {

/// One replica's walk through the buckets of its gradients, in the order in which a backward pass completes them.
template <class Model, class B, class Sizes>
class bucket_walk {
 public:
  static constexpr auto buckets = plan_buckets<Sizes>(Model::template plan<B>, sizeof(typename B::value_type));
  static constexpr auto count = static_cast<std::size_t>(buckets.count);

  /// Called when backward has run `node`, and before it all later nodes. When this completes bucket b, calls
  /// complete_from(first element of b), which finishes the sums of its gradients, and then send(b).
  template <class CompleteFrom, class Send>
  void completed(int node, const CompleteFrom& complete_from, const Send& send) {
    if (buckets.ready[static_cast<std::size_t>(node)] < 0) return;
    complete_from(buckets.buckets[next_].first);
    pass_on(send);
  }

  /// Called when nothing more will be added to the first `last` buckets: calls send(b) for those that are left.
  template <class Send>
  void rest(const Send& send, std::size_t last = count) {
    while (next_ < last) pass_on(send);
  }

 private:
  template <class Send>
  void pass_on(const Send& send) {
    send(next_++);
  }

  std::size_t next_ = 0;
};

}  // namespace lockstep::detail
