// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/prefetch.hpp>

namespace lockstep::data::detail {

/// The buffers of one batch.
template <class... Fields>
struct batch_slot {
  batch_slot(field_list<Fields...> /*of*/, std::int64_t most)
      : buffers(aligned_buffer<typename Fields::value_type>(checked_multiply(most, Fields::size))...) {}

  [[nodiscard]] typename field_list<Fields...>::pointers pointers() noexcept {
    return std::apply([](auto&... buffer) { return typename field_list<Fields...>::pointers(buffer.data()...); },
                      buffers);
  }

  std::tuple<aligned_buffer<typename Fields::value_type>...> buffers;
  std::int64_t samples = 0;
  std::int64_t first_index = 0;
};

template <class... Fields>
batch_slot(field_list<Fields...>, std::int64_t) -> batch_slot<Fields...>;

/// Walks over the batches that `Fill` puts into slots, one walk at a time. A new walk ends the previous walk, whose
/// iterators then throw.
template <class Batch, class Slot, class Fill>
class batch_walk {
 public:
  /// An input iterator over the batches of one walk. It must not outlive its loader.
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = Batch;
    using difference_type = std::ptrdiff_t;

    iterator() = default;

    /// Throws value_error at the end, and when a later begin() has ended the walk; so do -> and ++. A comparison throws
    /// only in the second case.
    [[nodiscard]] const value_type& operator*() const { return owner().current(); }
    [[nodiscard]] const value_type* operator->() const { return &owner().current(); }
    iterator& operator++() {
      static_cast<void>(owner().current());
      owner_->ring_.pop();
      ++owner_->index_;
      owner_->taken_ = false;
      owner_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] bool operator==(std::default_sentinel_t) const {
      return owner_ == nullptr || owner().current_ == nullptr;
    }

   private:
    friend batch_walk;
    iterator(batch_walk* owner, std::uint64_t walk) noexcept : owner_(owner), walk_(walk) {}

    [[nodiscard]] batch_walk& owner() const {
      if (owner_ == nullptr) throw value_error("loader", "an iterator that begin() returned", "one that was not set");
      if (owner_->walk_ != walk_)
        throw value_error("loader", "one walk at a time", "a step of a walk that a later begin() has ended",
                          "inside a loop over a loader, walk a second loader over the same data");
      return *owner_;
    }

    batch_walk* owner_ = nullptr;
    std::uint64_t walk_ = 0;
  };

  /// `slots` must not be empty.
  batch_walk(std::vector<Slot> slots, Fill fill) : ring_(std::move(slots), std::move(fill)) {}

  /// Ends the walk under way. The caller may change `fill()` until the next `start`.
  void stop() noexcept {
    ring_.stop();
    current_ = nullptr;
    under_way_ = false;
    ++walk_;
  }

  [[nodiscard]] Fill& fill() noexcept { return ring_.fill(); }
  [[nodiscard]] const Fill& fill() const noexcept { return ring_.fill(); }

  /// Starts a walk over at most `count` batches; no walk may be under way. Calls open() before the first is filled.
  /// Throws resource_error when no thread can be started, and then has not called open(), and whatever open() or
  /// filling the first batch throws.
  template <class Open>
  [[nodiscard]] iterator start(std::int64_t count, const Open& open) {
    ring_.start(count, open);
    under_way_ = true;
    index_ = 0;
    taken_ = false;
    advance();
    return iterator(this, walk_);
  }
  [[nodiscard]] iterator start(std::int64_t count) {
    return start(count, [] {});
  }

  /// False before the first walk, after stop(), and once the user has seen the end of a walk.
  [[nodiscard]] bool under_way() const noexcept { return under_way_; }

  /// Batches of the walk under way that its user has got: each at the latest when the iterator leaves it.
  [[nodiscard]] std::int64_t handed_out() const noexcept { return index_ + (taken_ ? 1 : 0); }

 private:
  [[nodiscard]] const Batch& current() {
    if (current_ == nullptr)
      throw value_error("loader", "a batch", "the end of the walk", "compare with end() before each step");
    taken_ = true;
    return *current_;
  }

  void advance() {
    current_ = nullptr;
    Slot* const next = ring_.front();
    under_way_ = next != nullptr;
    if (next == nullptr) return;
    view_ = Batch(next->pointers(), next->samples, next->first_index);
    current_ = &view_;
  }

  prefetcher<Slot, Fill> ring_;
  Batch view_;
  const Batch* current_ = nullptr;  // &view_, or null where there is no batch
  std::uint64_t walk_ = 0;
  bool under_way_ = false;
  std::int64_t index_ = 0;  // of the current batch, in its walk
  bool taken_ = false;      // the user has got the current batch
};

}  // namespace lockstep::data::detail
