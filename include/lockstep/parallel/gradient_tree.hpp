// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <lockstep/core/tensor.hpp>

namespace lockstep::detail {

/// Adds up the gradients of Leaves micro-shards, a power of two, that one replica computes one after another, as one
/// balanced binary tree: ((0 + 1) + (2 + 3)). At most log2(Leaves) + 1 buffers are alive, the caller's among them.
template <class T, int Leaves>
class gradient_tree {
  static constexpr auto leaves = static_cast<unsigned>(Leaves);
  // The lowest level is the caller's buffer; an odd leaf goes straight on top of the even one before it.
  static constexpr std::size_t levels = leaves > 2 ? static_cast<std::size_t>(std::countr_zero(leaves)) - 1 : 0;

 public:
  /// For gradients of `size` elements.
  explicit gradient_tree(std::int64_t size) : size_(size) {
    for (auto& level : levels_) level = aligned_buffer<T>(size);
  }

  /// Leaves the sum in `result`. `leaf(i, to, accumulate)` computes leaf i and writes it to `to`, or adds it, complete,
  /// to what is there; `adds(i)` says whether it can do the latter; `add(from, to)` adds a whole buffer.
  template <class Leaf, class Adds, class Add>
  void sum(T* result, const Leaf& leaf, const Adds& adds, const Add& add) {
    // A binary counter: the set bits of i are the complete subtrees that wait, the largest one lowest.
    for (unsigned i = 0; i < leaves; ++i) {
      const auto waiting = static_cast<std::size_t>(std::popcount(i));
      if (i % 2 == 0) {
        leaf(static_cast<int>(i), level(result, waiting), false);
        continue;
      }
      std::size_t top = waiting - 1;
      if (adds(static_cast<int>(i))) {
        leaf(static_cast<int>(i), level(result, top), true);
      } else {
        if (spare_.size() < size_) spare_ = aligned_buffer<T>(size_);
        leaf(static_cast<int>(i), spare_.data(), false);
        add(spare_.data(), level(result, top));
      }
      for (int merges = std::countr_one(i) - 1; merges > 0; --merges, --top)
        add(level(result, top), level(result, top - 1));
    }
  }

 private:
  [[nodiscard]] T* level(T* result, std::size_t at) {
    if constexpr (levels > 0)
      if (at > 0) return levels_[at - 1].data();
    return result;
  }

  std::int64_t size_;
  std::array<aligned_buffer<T>, levels> levels_;
  aligned_buffer<T> spare_;
};

}  // namespace lockstep::detail
