// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace lockstep::detail {

/// Adds up the gradients of Leaves micro-shards, a power of two, that one replica computes one after another, as one
/// balanced binary tree: ((0 + 1) + (2 + 3)). At most log2(Leaves) + 1 buffers are alive, the caller's among them.
template <class B, int Leaves>
class gradient_tree {
  using T = typename B::value_type;
  using context = typename B::context;
  static constexpr auto leaves = static_cast<unsigned>(Leaves);
  // The lowest level is the caller's buffer; an odd leaf is added straight to the even one before it.
  static constexpr std::size_t levels = leaves > 2 ? static_cast<std::size_t>(std::countr_zero(leaves)) - 1 : 0;

 public:
  /// For gradients of `size` elements.
  gradient_tree(context& c, std::int64_t size) : size_(size) {
    for (auto& level : levels_) level = B::template allocate<T>(c, size);
  }

  /// Leaves the sum of the elements [first, last) in `result`. `leaf(i, to, accumulate)` computes leaf i and writes it
  /// to `to`, or adds it there as one sum; `adds(i)` says whether it can add; `add(count, from, to)` adds `count`
  /// elements. The last leaf may call `complete_from` while it runs.
  template <class Leaf, class Adds, class Add>
  void sum(context& c, std::int64_t first, std::int64_t last, T* result, const Leaf& leaf, const Adds& adds,
           const Add& add) {
    result_ = result;
    // A binary counter: the set bits of i are the complete subtrees that wait, the largest one lowest.
    for (unsigned i = 0; i < leaves; ++i) {
      top_ = static_cast<std::size_t>(std::popcount(i));
      open_ = last;
      if (i % 2 == 0) {
        leaf(static_cast<int>(i), level(top_), false);
        continue;
      }
      --top_;
      merges_ = std::countr_one(i) - 1;
      in_spare_ = !adds(static_cast<int>(i));
      if (in_spare_ && spare_.size() < size_) spare_ = B::template allocate<T>(c, size_);
      leaf(static_cast<int>(i), in_spare_ ? spare_.data() : level(top_), !in_spare_);
      complete_from(first, add);
    }
  }

  /// Inside the last leaf, once its gradients from element `first` on are final: finishes the sum of these elements.
  template <class Add>
  void complete_from(std::int64_t first, const Add& add) {
    if constexpr (leaves > 1) {
      const std::int64_t count = open_ - first;
      if (count <= 0) return;
      open_ = first;
      std::size_t top = top_;
      if (in_spare_) add(count, spare_.data() + first, level(top) + first);
      for (int merges = merges_; merges > 0; --merges, --top) add(count, level(top) + first, level(top - 1) + first);
    }
  }

 private:
  [[nodiscard]] T* level(std::size_t at) {
    if constexpr (levels > 0)
      if (at > 0) return levels_[at - 1].data();
    return result_;
  }

  std::int64_t size_;
  std::array<typename B::template buffer<T>, levels> levels_;
  typename B::template buffer<T> spare_;
  // The state of the running leaf.
  T* result_ = nullptr;
  std::size_t top_ = 0;    ///< its level
  int merges_ = 0;         ///< subtrees that it completes
  bool in_spare_ = false;  ///< it lies in the spare buffer, not yet on its level
  std::int64_t open_ = 0;  ///< elements from here on have been merged
};

}  // namespace lockstep::detail
