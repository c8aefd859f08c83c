// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <vector>

namespace lockstep::data::detail {

/// The rank of a pair that does not merge.
inline constexpr std::uint32_t no_rank = (std::numeric_limits<std::uint32_t>::max)();

/// What a pair of tokens becomes, and how early: pairs of lower rank merge first.
struct merge {
  std::uint32_t rank = no_rank;
  std::int32_t result = 0;
};

/// The merges of a vocabulary by their pairs: a hash table with open addressing, at most half full.
class merge_table {
 public:
  explicit merge_table(std::size_t merges) : slots_(std::bit_ceil(2 * merges + 2)) {}

  /// Adds a merge, or replaces the pair's. There must be room for it.
  void set(std::int32_t left, std::int32_t right, const merge& to) {
    const std::uint64_t key = key_of(left, right);
    std::size_t at = place_of(key);
    while (slots_[at].to.rank != no_rank && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {key, to};
  }

  /// Returns a merge of rank no_rank when the pair has none.
  [[nodiscard]] merge find(std::int32_t left, std::int32_t right) const noexcept {
    const std::uint64_t key = key_of(left, right);
    std::size_t at = place_of(key);
    while (slots_[at].to.rank != no_rank && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return slots_[at].to;
  }

 private:
  struct slot {
    std::uint64_t key = 0;
    merge to;
  };

  [[nodiscard]] static std::uint64_t key_of(std::int32_t left, std::int32_t right) noexcept {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32U | static_cast<std::uint32_t>(right);
  }
  /// The golden ratio spreads neighbouring keys over the upper bits.
  [[nodiscard]] std::size_t place_of(std::uint64_t key) const noexcept {
    const std::uint64_t mixed = (key ^ key >> 32U) * 0x9E3779B97F4A7C15U;
    return static_cast<std::size_t>(mixed >> 32U) & (slots_.size() - 1);
  }

  std::vector<slot> slots_;
};

/// Merges the tokens of one word as GPT-2 does: of the pairs that lie side by side takes the one of lowest rank, merges
/// it everywhere from left to right, and begins again, until no pair merges.
class word_merger {
 public:
  explicit word_merger(const merge_table& merges) : merges_(&merges) {}

  /// Merges within `tokens`, fewer than 2^32. Takes n log n steps for n of them.
  void operator()(std::vector<std::int32_t>& tokens) {
    if (tokens.size() < 2) return;
    if (tokens.size() <= longest_scan)
      scan(tokens);
    else
      take_from_heap(tokens);
  }

 private:
  /// Up to here, looking at all pairs anew costs less than a heap.
  static constexpr std::size_t longest_scan = 48;

  void scan(std::vector<std::int32_t>& tokens) const {
    std::array<merge, longest_scan> pairs;  // pairs[i] is of tokens i and i + 1
    std::array<bool, longest_scan> changed;
    std::size_t size = tokens.size();
    for (std::size_t i = 0; i + 1 < size; ++i) pairs[i] = merges_->find(tokens[i], tokens[i + 1]);
    while (size > 1) {
      const merge best = *std::min_element(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(size - 1),
                                           [](const merge& a, const merge& b) { return a.rank < b.rank; });
      if (best.rank == no_rank) break;
      const auto merges_at = [&](std::size_t i) { return i + 1 < size && pairs[i].rank == best.rank; };
      std::size_t kept = 0;
      for (std::size_t i = 0; i < size; ++kept) {
        changed[kept] = merges_at(i);
        tokens[kept] = changed[kept] ? best.result : tokens[i];
        if (!changed[kept] && i + 1 < size) pairs[kept] = pairs[i];
        i += changed[kept] ? std::size_t{2} : std::size_t{1};
      }
      size = kept;
      for (std::size_t i = 0; i + 1 < size; ++i)
        if (changed[i] || changed[i + 1]) pairs[i] = merges_->find(tokens[i], tokens[i + 1]);
    }
    tokens.resize(size);
  }

  /// A token in the list of those left, at the place of the first that it was merged from.
  struct node {
    merge with_next;
    std::uint32_t before = 0;
    std::uint32_t next = 0;
  };

  /// The same by a list and a heap. Pairs that a merge brings forth wait until it has been done everywhere: they may
  /// have a lower rank.
  void take_from_heap(std::vector<std::int32_t>& tokens) {
    const auto size = static_cast<std::uint32_t>(tokens.size());
    nodes_.resize(size);
    const auto look = [&](std::uint32_t at) {
      node& own = nodes_[at];
      own.with_next = own.next < size ? merges_->find(tokens[at], tokens[own.next]) : merge{};
      if (own.with_next.rank != no_rank) fresh_.push_back(std::uint64_t{own.with_next.rank} << 32U | at);
    };
    const auto push_fresh = [&] {
      for (const std::uint64_t candidate : fresh_) heap_.push(candidate);
      fresh_.clear();
    };
    for (std::uint32_t i = 0; i < size; ++i) nodes_[i] = {{}, i - 1, i + 1};
    for (std::uint32_t i = 0; i < size; ++i) look(i);
    push_fresh();
    while (!heap_.empty()) {
      const auto rank = static_cast<std::uint32_t>(heap_.top() >> 32U);
      for (; !heap_.empty() && heap_.top() >> 32U == rank; heap_.pop()) {
        const auto at = static_cast<std::uint32_t>(heap_.top());
        node& own = nodes_[at];
        if (own.with_next.rank != rank) continue;  // it has changed since
        tokens[at] = own.with_next.result;
        nodes_[own.next].with_next = {};
        own.next = nodes_[own.next].next;
        if (own.next < size) nodes_[own.next].before = at;
        look(at);
        if (at != 0) look(own.before);
      }
      push_fresh();
    }
    std::size_t kept = 0;
    for (std::uint32_t i = 0; i < size; i = nodes_[i].next) tokens[kept++] = tokens[i];
    tokens.resize(kept);
  }

  const merge_table* merges_;
  std::vector<node> nodes_;
  std::vector<std::uint64_t> fresh_;
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> heap_;  // rank << 32 | place
};

}  // namespace lockstep::data::detail
