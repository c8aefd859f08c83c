// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::data {

/// One field of a sample: elements of type T with these extents, or a single element when there are none.
template <class T, std::int64_t... Extents>
struct field {
  static_assert(std::is_arithmetic_v<T> && !std::same_as<T, bool>,
                "lockstep: field: the elements are numbers; for yes and no take std::uint8_t");
  static_assert(!shape<Extents...>::is_dynamic, "lockstep: field: the extents are those of one sample");

  using value_type = T;
  using shape_type = shape<Extents...>;
  using view_type = tensor_view<const T, shape<dynamic, Extents...>>;  ///< of a batch

  /// Elements in one sample.
  static constexpr std::int64_t size = shape_type::static_size;
};

/// Samples in memory. `dataset<shape<3, 32, 32>>` holds labelled pictures, `dataset<field<float, 13>, field<float>>`
/// holds any fields, here 13 features and a target.
template <class... Fields>
class dataset {
  static_assert(sizeof...(Fields) < 0,  // false for all
                "lockstep: dataset: expected one shape, as in dataset<shape<3, 32, 32>>, or fields, as in "
                "dataset<field<float, 13>, field<float>>");
};

/// What a reader returns: `auto [train, test] = cifar10(folder);`.
template <class... Fields>
struct split {
  dataset<Fields...> train;
  dataset<Fields...> test;
};

namespace detail {

template <class... Fields>
struct field_list {
  using pointers = std::tuple<typename Fields::value_type*...>;
};

/// The fields of a data set's batches.
template <class... Fields>
struct batch_fields {
  using type = field_list<Fields...>;
};

template <std::int64_t... Extents>
struct batch_fields<shape<Extents...>> {
  using type = field_list<field<float, Extents...>, field<std::int64_t>>;
};

/// x / 255 in single precision, as PyTorch computes it.
inline constexpr std::array<float, 256> unit_values = [] {
  std::array<float, 256> values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 255.0F;
  return values;
}();

/// Throws value_error unless 0 <= index < samples.
inline void check_index(std::int64_t index, std::int64_t samples) {
  if (index < 0 || index >= samples)
    throw value_error("dataset", "indices from 0 to " + std::to_string(samples - 1), std::to_string(index));
}

}  // namespace detail
}  // namespace lockstep::data
