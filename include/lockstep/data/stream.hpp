// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/batch.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/sample_changes.hpp>
#include <lockstep/data/stream_source.hpp>
#include <lockstep/data/walk.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// Data of unknown length, read during the walk over it: files too large for memory, a simulation, an instrument.

namespace lockstep::data {

/// Samples of the given fields that are made or read while a loader walks over them, on the thread that prepares
/// batches. The number of samples need not be known: `loader{stream, {.batch = 64}}`.
template <class... Fields>
class stream {
 public:
  /// `next(places...)` writes the next sample and returns true, or returns false at the end, after which it is not
  /// called again. For each field it takes a reference to the field's element, or a span of the field's elements. The
  /// stream can be walked over once.
  template <class Next>
    requires(detail::sample_generator<Next, Fields...>)
  explicit stream(Next next) : source_(std::make_unique<detail::generator_source<Next, Fields...>>(std::move(next))) {}

  /// `make()` or `make(walk)` returns such a function. Each walk over the stream calls `make`; `walk` is the walk's
  /// number 0, 1, ...
  template <class Make>
    requires(detail::generator_maker<Make, Fields...> && !detail::sample_generator<Make, Fields...>)
  explicit stream(Make make) : source_(std::make_unique<detail::made_source<Make, Fields...>>(std::move(make))) {}

  /// Reads a range of tuples with one part a field. A part is a number or a range of numbers. With a single field the
  /// range holds the parts themselves. An lvalue is borrowed and must outlive the stream. A range that is only an
  /// input_range can be walked over once.
  template <std::ranges::input_range Range>
    requires(!std::same_as<std::remove_cvref_t<Range>, stream>)
  explicit stream(Range&& range)
      : source_(std::make_unique<detail::range_source<std::views::all_t<Range>, Fields...>>(
            std::views::all(std::forward<Range>(range)))) {}

 private:
  template <class...>
  friend class loader;

  std::unique_ptr<detail::stream_source<Fields...>> source_;
};

namespace detail {

/// Fills a slot with the next samples of a stream.
template <class... Fields>
struct stream_batch {
  stream_source<Fields...>* source = nullptr;
  const void* owner = nullptr;                 // the loader
  const std::atomic<bool>* leaving = nullptr;  // set by the loader when nobody wants further samples of the walk
  std::int64_t batch = 0;
  bool drop_last = false;
  std::int64_t skipped = 0;  // batches of the walk that its user has got already, in another run
  std::int64_t done = 0;     // samples of the walk so far
  bool ended = false;
  std::unique_ptr<stream_changes<Fields...>> changes{};  // null: samples come as they are
  lockstep::seed seed{};
  std::uint64_t epoch = 0;

  /// Gives the source back once the walk has ended: nothing of it reads any more.
  struct released_at_end {
    const stream_batch& of;
    ~released_at_end() {
      if (of.ended) of.source->release(of.owner);
    }
  };

  template <class Slot>
  bool operator()(Slot& target, std::int64_t /*index*/) {
    if (ended) return false;
    ended = true;  // holds when the source throws
    const released_at_end release{*this};
    if (!skip(target)) return false;
    target.samples = source->fill(target.pointers(), batch, *leaving);
    target.first_index = done;
    if (changes != nullptr) changes->change(target.pointers(), target.samples, {seed, epoch, done});
    done += target.samples;
    ended = target.samples < batch;
    return target.samples == batch || (target.samples > 0 && !drop_last);
  }

 private:
  /// Reads what is to be skipped; returns whether the stream goes on after it.
  template <class Slot>
  [[nodiscard]] bool skip(Slot& target) {
    for (; skipped > 0; --skipped) {
      const std::int64_t samples = source->fill(target.pointers(), batch, *leaving);
      done += samples;
      if (samples == batch) continue;
      if (skipped > (samples > 0 ? 1 : 0) && !leaving->load(std::memory_order_relaxed))
        throw value_error("loader",
                          lockstep::detail::message({"a stream that reaches the batch to go on at, ", skipped,
                                                     " batches after sample ", done - samples}),
                          "its end", "give it the source of the run that it goes on from");
      return false;
    }
    return true;
  }
};

}  // namespace detail

/// Yields the batches of a stream. Each walk starts the stream anew, so a stream that can be read once allows one walk.
/// Leaving a walk early loses the batches prepared ahead. The walk ends in the next begin() or in the destructor; both
/// wait for the one sample that the stream may be about to deliver, but ask for no further one. A stream that may wait
/// long for a sample, such as one that reads from an instrument, can therefore hold them up: let its generator return
/// false when the program is to end. A walk allocates nothing for a batch. A stream cannot be shuffled.
template <class... Fields>
class loader<stream<Fields...>> {
  using slot = detail::batch_slot<Fields...>;
  using walk = detail::batch_walk<batch<Fields...>, slot, detail::stream_batch<Fields...>>;

 public:
  using iterator = typename walk::iterator;

  /// Borrows the stream, which must outlive the loader. Throws value_error when `batch` is below one, `prefetch` below
  /// zero, or `shuffle` is set.
  explicit loader(stream<Fields...>& source, const loader_options& options = {})
      : source_(source.source_.get()), walk_(make_walk(options)) {}

  /// Changes each sample: see augment. What the transforms draw is keyed by the seed, the walk's number and the
  /// sample's place in the walk. Throws as above, and what the transforms' checks throw.
  template <class... Transforms>
  loader(stream<Fields...>& source, const loader_options& options, augment<Transforms...> by)
      : loader(source, options) {
    static_assert(!augment<Transforms...>::mixes,
                  "lockstep: loader: a stream cannot be mixed: a transform that reads a second sample of the epoch, as "
                  "mixup, takes a data set");
    if constexpr (!augment<Transforms...>::mixes)
      walk_.fill().changes = std::make_unique<detail::changed_stream<augment<Transforms...>, Fields...>>(std::move(by));
  }

  loader(const loader&) = delete;
  loader& operator=(const loader&) = delete;
  /// Ends the walk under way, as described above.
  ~loader() { leave(); }

  /// The number that the next begin() hands to the stream, counted from 0.
  [[nodiscard]] std::uint64_t next_epoch() const noexcept { return epoch_; }
  void set_next_epoch(std::uint64_t epoch) noexcept {
    epoch_ = epoch;
    first_ = 0;
  }

  /// As of a loader of a data set. The next begin() after resume_at starts the stream anew with the walk's number, and
  /// reads the batches before the position without yielding them: the stream must give the same samples again.
  [[nodiscard]] loader_position position() const noexcept {
    if (walk_.under_way()) return {walk_epoch_, walk_first_ + walk_.handed_out()};
    return {epoch_, first_};
  }
  void resume_at(const loader_position& at) {
    if (at.batch < 0) throw value_error("loader", "a batch of 0 or more to go on at", std::to_string(at.batch));
    leave();
    epoch_ = at.epoch;
    first_ = at.batch;
  }
  void end_epoch() noexcept { leave(); }
  [[nodiscard]] loader_identity identity(std::uint64_t /*epoch*/) const {
    const auto& fill = walk_.fill();
    loader_identity all{{"batch", std::to_string(fill.batch)},
                        {"drop_last", fill.drop_last ? "true" : "false"},
                        {"order", "of a stream"}};
    if (fill.changes != nullptr) {
      all.emplace_back("transforms", std::to_string(fill.changes->transforms()));
      all.emplace_back("augmentation", fill.changes->describe());
      all.emplace_back("seed", std::to_string(fill.seed.value));
    }
    return all;
  }

  /// Starts the next walk. Throws resource_error when no thread can be started, value_error when the stream can be read
  /// only once and has been or another loader is walking it, and whatever the stream throws.
  [[nodiscard]] iterator begin() {
    leave();
    source_->acquire(this);
    walk_.fill().done = 0;
    walk_.fill().ended = false;
    walk_.fill().skipped = first_;
    walk_.fill().epoch = epoch_;
    walk_epoch_ = epoch_;
    walk_first_ = first_;
    try {
      iterator first = walk_.start((std::numeric_limits<std::int64_t>::max)(), [this] { source_->start(epoch_); });
      ++epoch_;
      first_ = 0;
      return first;
    } catch (...) {
      source_->release(this);
      throw;
    }
  }

  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  /// Ends the walk under way, whose thread asks for no further sample, and gives the stream back.
  void leave() noexcept {
    leaving_.store(true, std::memory_order_relaxed);
    walk_.stop();
    leaving_.store(false, std::memory_order_relaxed);
    source_->release(this);
  }

  [[nodiscard]] walk make_walk(const loader_options& options) const {
    detail::checked_options(options);
    if (options.shuffle)
      throw value_error("loader", "a data set in memory to shuffle", "a stream",
                        "leave .shuffle out and let the stream give its samples in a random order");
    std::vector<slot> slots;
    for (std::int64_t i = 0; i <= options.prefetch; ++i)
      slots.emplace_back(detail::field_list<Fields...>{}, options.batch);
    detail::stream_batch<Fields...> fill{};
    fill.source = source_;
    fill.owner = this;
    fill.leaving = &leaving_;
    fill.batch = options.batch;
    fill.drop_last = options.drop_last;
    fill.seed = options.seed;
    return walk(std::move(slots), std::move(fill));
  }

  detail::stream_source<Fields...>* source_;
  std::uint64_t epoch_ = 0;  // of the next walk
  std::int64_t first_ = 0;   // its first batch
  std::uint64_t walk_epoch_ = 0;
  std::int64_t walk_first_ = 0;
  std::atomic<bool> leaving_{false};
  walk walk_;
};

template <class... Fields>
loader(stream<Fields...>&, const loader_options& = {}) -> loader<stream<Fields...>>;
template <class... Fields, class... Transforms>
loader(stream<Fields...>&, const loader_options&, augment<Transforms...>) -> loader<stream<Fields...>>;

}  // namespace lockstep::data
