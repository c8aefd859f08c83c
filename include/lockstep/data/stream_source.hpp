// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <ranges>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/data/column.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// What a stream reads from: a generator of samples, a function that makes one, or a range.

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

}  // namespace lockstep::data
