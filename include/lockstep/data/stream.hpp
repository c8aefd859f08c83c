// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/batch.hpp>
#include <lockstep/data/column.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/walk.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// Data of unknown length, read during the walk over it: files too large for memory, a simulation, an instrument.

namespace lockstep::data {

namespace detail {

/// Where one field of a sample is written: a reference to its element, or a span of its elements.
template <class Field>
using field_place = std::conditional_t<Field::shape_type::rank == 0, typename Field::value_type&,
                                       std::span<typename Field::value_type, static_cast<std::size_t>(Field::size)>>;

template <class Field>
[[nodiscard]] field_place<Field> place_of(typename Field::value_type* batch, std::int64_t sample) {
  if constexpr (Field::shape_type::rank == 0)
    return batch[sample];
  else
    return field_place<Field>(batch + sample * Field::size, static_cast<std::size_t>(Field::size));
}

/// A callable that writes the next sample and returns true, or returns false when there is none.
template <class Next, class... Fields>
concept sample_generator = std::is_invocable_r_v<bool, Next&, field_place<Fields>...>;

/// A callable that returns a fresh generator; it may take the number of the walk.
template <class Make, class... Fields>
concept generator_maker = requires(Make& make) {
  { make() } -> sample_generator<Fields...>;
} || requires(Make& make, std::uint64_t walk) {
  { make(walk) } -> sample_generator<Fields...>;
};

/// The source that a stream reads from, of any type. Costs one indirect call a batch.
template <class... Fields>
class stream_source {
 public:
  using pointers = typename field_list<Fields...>::pointers;

  stream_source() = default;
  stream_source(const stream_source&) = delete;
  stream_source& operator=(const stream_source&) = delete;
  virtual ~stream_source() = default;

  /// Starts a walk from the beginning. Throws value_error when the source can be read only once and has been.
  virtual void start(std::uint64_t walk) = 0;

  /// Writes `most` samples, or fewer at the end alone or once `leaving` is set, and returns their number.
  virtual std::int64_t fill(const pointers& to, std::int64_t most, const std::atomic<bool>& leaving) = 0;

  /// Lets `loader` read from now on. Throws value_error while another loader's walk is under way, whose thread reads.
  void acquire(const void* loader) {
    const void* reader = nullptr;
    if (!reader_.compare_exchange_strong(reader, loader, std::memory_order_acquire) && reader != loader)
      throw value_error("loader", "one walk at a time over a stream", "a walk while another loader walks it",
                        "end the other walk first, or make a second stream");
  }
  /// `loader` reads no more, if it has.
  void release(const void* loader) noexcept {
    reader_.compare_exchange_strong(loader, nullptr, std::memory_order_release, std::memory_order_relaxed);
  }

 private:
  std::atomic<const void*> reader_{nullptr};  ///< the loader whose walk is under way
};

template <class Next, class... Fields>
std::int64_t fill_from(Next& next, const typename field_list<Fields...>::pointers& to, std::int64_t most,
                       const std::atomic<bool>& leaving, field_list<Fields...> /*fields*/) {
  return std::apply(
      [&](auto*... batch) {
        std::int64_t i = 0;
        while (i < most && !leaving.load(std::memory_order_relaxed) && std::invoke(next, place_of<Fields>(batch, i)...))
          ++i;
        return i;
      },
      to);
}

/// Allows the first walk and throws value_error at the second.
class single_walk {
 public:
  void start() {
    if (std::exchange(started_, true))
      throw value_error("stream", "one walk over a source that can be read once", "a second",
                        "build the stream from a function that returns a fresh generator: each walk calls it");
  }

 private:
  bool started_ = false;
};

template <class Next, class... Fields>
class generator_source final : public stream_source<Fields...> {
 public:
  explicit generator_source(Next next) : next_(std::move(next)) {}
  void start(std::uint64_t /*walk*/) override { once_.start(); }
  std::int64_t fill(const typename stream_source<Fields...>::pointers& to, std::int64_t most,
                    const std::atomic<bool>& leaving) override {
    return fill_from(next_, to, most, leaving, field_list<Fields...>{});
  }

 private:
  Next next_;
  single_walk once_;
};

template <class Make, class... Fields>
class made_source final : public stream_source<Fields...> {
 public:
  explicit made_source(Make make) : make_(std::move(make)) {}
  void start(std::uint64_t walk) override {
    next_.reset();
    next_.emplace(call(make_, walk));
  }
  std::int64_t fill(const typename stream_source<Fields...>::pointers& to, std::int64_t most,
                    const std::atomic<bool>& leaving) override {
    return fill_from(*next_, to, most, leaving, field_list<Fields...>{});
  }

 private:
  [[nodiscard]] static auto call(Make& make, std::uint64_t walk) {
    if constexpr (std::invocable<Make&, std::uint64_t>)
      return make(walk);
    else
      return make();
  }

  Make make_;
  std::optional<decltype(call(std::declval<Make&>(), 0))> next_;
};

/// Writes one field of a sample from `value`, a number or a range of numbers. Throws shape_error when the range has
/// another number of elements than the field.
template <class Field, class Value>
void write_field(const Value& value, field_place<Field> to, std::size_t number) {
  using T = typename Field::value_type;
  if constexpr (std::ranges::input_range<const Value>) {
    auto from = std::ranges::begin(value);
    std::size_t count = 0;
    if constexpr (Field::shape_type::rank == 0) {
      for (; from != std::ranges::end(value); ++from, ++count) to = converted<T>(*from);
    } else {
      for (; from != std::ranges::end(value) && count < to.size(); ++from, ++count) to[count] = converted<T>(*from);
    }
    if (count != static_cast<std::size_t>(Field::size) || from != std::ranges::end(value))
      throw shape_error(lockstep::detail::message({"stream: field ", number}),
                        lockstep::detail::message({Field::size, " elements in each sample"}), "another number");
  } else {
    static_assert(Field::size == 1, "lockstep: stream: a field of several elements takes a range of numbers");
    if constexpr (Field::shape_type::rank == 0)
      to = converted<T>(value);
    else
      to[0] = converted<T>(value);
  }
}

/// Reads a range of tuples (or pairs, arrays, structured-binding types) with one part a field.
template <class View, class... Fields>
class range_source final : public stream_source<Fields...> {
 public:
  explicit range_source(View view) : view_(std::move(view)) {}

  void start(std::uint64_t /*walk*/) override {
    if constexpr (!std::ranges::forward_range<View>) once_.start();
    at_.emplace(std::ranges::begin(view_));
    fresh_ = true;
  }

  std::int64_t fill(const typename stream_source<Fields...>::pointers& to, std::int64_t most,
                    const std::atomic<bool>& leaving) override {
    // Advance the iterator only when the next element is asked for: an input range may have to wait for it.
    auto next = [&](field_place<Fields>... places) {
      if (!std::exchange(fresh_, false)) ++*at_;
      if (*at_ == std::ranges::end(view_)) return false;
      auto&& sample = **at_;
      [&]<std::size_t... Index>(std::index_sequence<Index...>) {
        if constexpr (sizeof...(Fields) == 1)
          (write_field<Fields>(sample, places, Index), ...);
        else
          (write_field<Fields>(part<Index>(sample), places, Index), ...);
      }(std::index_sequence_for<Fields...>{});
      return true;
    };
    return fill_from(next, to, most, leaving, field_list<Fields...>{});
  }

 private:
  template <std::size_t Index, class Sample>
  [[nodiscard]] static const auto& part(const Sample& sample) {
    static_assert(std::tuple_size_v<Sample> == sizeof...(Fields),
                  "lockstep: stream: an element of the range is a tuple with one part for each field");
    using std::get;
    return get<Index>(sample);
  }

  View view_;
  std::optional<std::ranges::iterator_t<View>> at_;
  bool fresh_ = true;
  single_walk once_;
};

}  // namespace detail

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
    return {{"batch", std::to_string(walk_.fill().batch)},
            {"drop_last", walk_.fill().drop_last ? "true" : "false"},
            {"order", "of a stream"}};
  }

  /// Starts the next walk. Throws resource_error when no thread can be started, value_error when the stream can be read
  /// only once and has been or another loader is walking it, and whatever the stream throws.
  [[nodiscard]] iterator begin() {
    leave();
    source_->acquire(this);
    walk_.fill().done = 0;
    walk_.fill().ended = false;
    walk_.fill().skipped = first_;
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

}  // namespace lockstep::data
