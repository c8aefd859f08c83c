// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/core/crc32c.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/table.hpp>

namespace lockstep::data {

/// A place in the epochs of a loader.
struct loader_position {
  std::uint64_t epoch = 0;
  std::int64_t batch = 0;  ///< the batch of the epoch that comes next; all of them: only the epoch's end is to come

  friend constexpr bool operator==(const loader_position&, const loader_position&) = default;
};

/// A loader whose walks can go on where those of another have stopped. `position()` is the batch that its user has not
/// got yet, whatever has been prepared ahead; after `resume_at(position)` the next walk begins there.
///
/// It may have `identity(epoch)`, which returns names and texts of what decides the batches of that epoch: a checkpoint
/// keeps them, and is refused by a loader that gives others.
template <class L>
concept resumable_loader = requires(L& loader, const loader_position& at) {
  { loader.position() } -> std::same_as<loader_position>;
  loader.resume_at(at);
};

/// Names and texts of what decides which batches a loader gives.
using loader_identity = std::vector<std::pair<std::string, std::string>>;

namespace detail {

template <class T>
void add_values(crc32c& to, const T* first, std::int64_t count) {
  to.add(std::as_bytes(std::span(first, static_cast<std::size_t>(count))));
}

template <std::int64_t... Extents>
void add_sample(crc32c& to, const dataset<shape<Extents...>>& from, std::int64_t sample) {
  constexpr std::int64_t size = shape<Extents...>::static_size;
  add_values(to, from.pixels().data() + sample * size, size);
  const std::int64_t label = from.label(sample);
  add_values(to, &label, 1);
}

template <class... Fields>
void add_sample(crc32c& to, const dataset<Fields...>& from, std::int64_t sample) {
  [&]<std::size_t... Index>(std::index_sequence<Index...>) {
    (add_values(to, from.template values<Index>().data() + sample * Fields::size, Fields::size), ...);
  }(std::index_sequence_for<Fields...>{});
}

/// For a data set that has its samples made: adds what it stores of one.
template <class... Fields>
  requires requires(const dataset<Fields...>& from) { from.stored(std::int64_t{}); }
void add_sample(crc32c& to, const dataset<Fields...>& from, std::int64_t sample) {
  const auto stored = from.stored(sample);
  add_values(to, stored.data(), static_cast<std::int64_t>(stored.size()));
}

/// A checksum of samples spread evenly over a data set: tells one data set from another in no time.
template <class... Fields>
[[nodiscard]] std::string sample_checksum(const dataset<Fields...>& from) {
  constexpr std::int64_t most = 64;
  const std::int64_t taken = (std::min)(most, from.size());
  crc32c sum;
  for (std::int64_t i = 0; i < taken; ++i)
    add_sample(sum, from, i * (from.size() / taken) + i * (from.size() % taken) / taken);
  return sum.text();
}

}  // namespace detail

}  // namespace lockstep::data
