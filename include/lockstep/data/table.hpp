// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/data/column.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Samples of any fields, such as features and a target, held in memory field by field. Immutable once built, so any
/// number of threads may read it.
template <class T, std::int64_t... Extents, class... Rest>
class dataset<field<T, Extents...>, Rest...> {
  using list = std::tuple<field<T, Extents...>, Rest...>;

 public:
  /// Number of fields.
  static constexpr std::size_t fields = 1 + sizeof...(Rest);

  template <std::size_t Index>
  using field_type = std::tuple_element_t<Index, list>;

  using columns = std::tuple<std::vector<T>, std::vector<typename Rest::value_type>...>;

  /// Takes one argument a field: all samples' elements back to back; or a range with one range of numbers a sample; or
  /// an mdspan whose first extent is the samples. A vector of the field's type given as an rvalue is moved; any other
  /// argument is copied and converted. Throws shape_error when elements do not make whole samples, or when the fields
  /// differ in their number of samples; value_error for a whole number that does not fit its field. An empty data set
  /// is allowed.
  template <class... Columns>
    requires(sizeof...(Columns) == fields && !(std::same_as<std::remove_cvref_t<Columns>, dataset> || ...) &&
             !(std::same_as<std::remove_cvref_t<Columns>, columns> || ...))
  explicit dataset(Columns&&... given)
      : dataset(from(std::index_sequence_for<Columns...>{}, std::forward<Columns>(given)...)) {}

  explicit dataset(std::vector<T> first, std::vector<typename Rest::value_type>... rest)
      : dataset(columns(std::move(first), std::move(rest)...)) {}

  /// Takes the columns, one a field. Throws as above.
  explicit dataset(columns given) : columns_(std::move(given)) { check(std::make_index_sequence<fields>{}); }

  /// Number of samples; 0 once the data set has been moved from.
  [[nodiscard]] std::int64_t size() const noexcept {
    return static_cast<std::int64_t>(std::get<0>(columns_).size()) / field_type<0>::size;
  }

  /// The elements of one field, sample after sample.
  template <std::size_t Index = 0>
  [[nodiscard]] std::span<const typename field_type<Index>::value_type> values() const noexcept {
    return std::get<Index>(columns_);
  }

  /// One field of one sample; the index is not checked.
  template <std::size_t Index = 0>
  [[nodiscard]] auto at(std::int64_t index) const noexcept {
    using F = field_type<Index>;
    return tensor_view<const typename F::value_type, typename F::shape_type>(std::get<Index>(columns_).data() +
                                                                             index * F::size);
  }

  /// Returns a copy of the samples at `indices`, in that order. Throws value_error when an index is out of range.
  [[nodiscard]] dataset select(std::span<const std::int64_t> indices) const {
    columns chosen;
    select_into(chosen, indices, std::make_index_sequence<fields>{});
    return dataset(std::move(chosen));
  }

  /// Moves the columns out, which leaves this data set empty.
  [[nodiscard]] columns release() && { return std::exchange(columns_, columns{}); }

 private:
  template <std::size_t... Index, class... Columns>
  [[nodiscard]] static columns from(std::index_sequence<Index...> /*unused*/, Columns&&... given) {
    return columns(detail::column<field_type<Index>>(std::forward<Columns>(given), Index)...);
  }

  template <std::size_t... Index>
  void check(std::index_sequence<Index...> /*unused*/) const {
    (check_one<Index>(), ...);
  }

  template <std::size_t Index>
  void check_one() const {
    using F = field_type<Index>;
    const auto elements = static_cast<std::int64_t>(std::get<Index>(columns_).size());
    if (elements % F::size != 0)
      throw shape_error(lockstep::detail::message({"dataset: field ", Index}),
                        lockstep::detail::message(
                            {"whole samples of ", F::size, " elements (", to_string(F::shape_type::extents), ")"}),
                        lockstep::detail::message({elements, " elements, ", elements % F::size, " left over"}));
    const std::int64_t first = static_cast<std::int64_t>(std::get<0>(columns_).size()) / field_type<0>::size;
    if (elements / F::size != first)
      throw shape_error(lockstep::detail::message({"dataset: field ", Index}),
                        lockstep::detail::message({first, " samples, as field 0 has"}),
                        std::to_string(elements / F::size));
  }

  template <std::size_t... Index>
  void select_into(columns& chosen, std::span<const std::int64_t> indices,
                   std::index_sequence<Index...> /*unused*/) const {
    (std::get<Index>(chosen).reserve(indices.size() * static_cast<std::size_t>(field_type<Index>::size)), ...);
    for (const std::int64_t i : indices) {
      detail::check_index(i, size());
      const auto append = [&](auto& to, const auto& from, std::int64_t size) {
        to.insert(to.end(), from.begin() + i * size, from.begin() + (i + 1) * size);
      };
      (append(std::get<Index>(chosen), std::get<Index>(columns_), field_type<Index>::size), ...);
    }
  }

  columns columns_;
};

/// Returns labelled pictures as fields: x / 255 in place of each byte, and the labels. Takes four times the memory.
template <std::int64_t... Extents>
[[nodiscard]] dataset<field<float, Extents...>, field<std::int64_t>> to_fields(
    const dataset<shape<Extents...>>& pictures) {
  std::vector<float> values(pictures.pixels().size());
  std::transform(pictures.pixels().begin(), pictures.pixels().end(), values.begin(),
                 [](std::uint8_t x) { return detail::unit_values[x]; });
  return dataset<field<float, Extents...>, field<std::int64_t>>(std::move(values), pictures.labels());
}

}  // namespace lockstep::data
