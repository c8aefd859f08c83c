// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/table.hpp>

/// \file
/// What lies between a data set and a loader's batches: samples are copied, and may be changed.

namespace lockstep::data {

template <class... Transforms>
class augment;  // in augment/pipeline.hpp

namespace detail {

/// Copies one labelled picture to a place of a batch, with bytes as x / 255.
template <std::int64_t... Extents>
void copy_sample(const dataset<shape<Extents...>>& from, std::int64_t sample, std::int64_t place,
                 const std::tuple<float*, std::int64_t*>& to) {
  constexpr std::int64_t size = shape<Extents...>::static_size;
  const std::uint8_t* const in = from.pixels().data() + sample * size;
  std::transform(in, in + size, std::get<0>(to) + place * size, [](std::uint8_t x) { return unit_values[x]; });
  std::get<1>(to)[place] = from.label(sample);
}

/// Copies one sample of a table, field by field.
template <class... Fields, class Pointers>
void copy_sample(const dataset<Fields...>& from, std::int64_t sample, std::int64_t place, const Pointers& to) {
  [&]<std::size_t... Index>(std::index_sequence<Index...>) {
    (std::copy_n(from.template values<Index>().data() + sample * Fields::size, Fields::size,
                 std::get<Index>(to) + place * Fields::size),
     ...);
  }(std::index_sequence_for<Fields...>{});
}

/// Copies one sample of a data set that has its samples made, as the windows of a text.
template <class... Fields, class Pointers>
  requires requires(const dataset<Fields...>& from, const Pointers& to) {
    from.copy_sample(std::int64_t{}, std::int64_t{}, to);
  }
void copy_sample(const dataset<Fields...>& from, std::int64_t sample, std::int64_t place, const Pointers& to) {
  from.copy_sample(sample, place, to);
}

/// The samples of one epoch, by their places in it.
template <class... Fields>
struct epoch_samples {
  const dataset<Fields...>* source = nullptr;
  std::span<const std::int64_t> order;  // empty: the data set's order
  lockstep::seed seed{};
  std::uint64_t epoch = 0;

  [[nodiscard]] std::int64_t size() const noexcept {
    return order.empty() ? source->size() : static_cast<std::int64_t>(order.size());
  }

  template <class Pointers>
  void copy(std::int64_t entry, std::int64_t place, const Pointers& to) const {
    copy_sample(*source, order.empty() ? entry : order[static_cast<std::size_t>(entry)], place, to);
  }
};

/// Changes samples on their way into a batch, in any way. Costs one indirect call a batch.
template <class... Fields>
class sample_changes {
 public:
  using pointers = typename batch_fields<Fields...>::type::pointers;

  sample_changes() = default;
  sample_changes(const sample_changes&) = delete;
  sample_changes& operator=(const sample_changes&) = delete;
  virtual ~sample_changes() = default;

  /// Writes the samples of `part` to a batch, changed.
  virtual void fill(const epoch_samples<Fields...>& from, const batch_part& part, const pointers& to) = 0;

  /// Number of changes, one after the other.
  [[nodiscard]] virtual std::int64_t transforms() const noexcept = 0;
  /// The changes in words.
  [[nodiscard]] virtual std::string describe() const = 0;
};

template <class Augment, class... Fields>
class augmented_samples;  // in augment/pipeline.hpp

/// Where samples stand in the walks over a stream, which keys what transforms draw.
struct stream_place {
  lockstep::seed seed{};
  std::uint64_t epoch = 0;
  std::int64_t first = 0;  ///< place of the first of them in the walk
};

/// Changes samples of a stream, in any way. Costs one indirect call a batch.
template <class... Fields>
class stream_changes {
 public:
  using pointers = typename field_list<Fields...>::pointers;

  stream_changes() = default;
  stream_changes(const stream_changes&) = delete;
  stream_changes& operator=(const stream_changes&) = delete;
  virtual ~stream_changes() = default;

  /// Changes `samples` samples in their places.
  virtual void change(const pointers& at, std::int64_t samples, const stream_place& place) = 0;
  [[nodiscard]] virtual std::int64_t transforms() const noexcept = 0;
  [[nodiscard]] virtual std::string describe() const = 0;
};

template <class Augment, class... Fields>
class changed_stream;  // in augment/pipeline.hpp

}  // namespace detail
}  // namespace lockstep::data
