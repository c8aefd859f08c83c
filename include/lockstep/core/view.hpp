// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Views the contiguous values of a vector, an array or a span as a batch of samples.

namespace lockstep {

namespace detail {

/// A sequence of contiguous values: anything that a std::span can view.
template <class Values>
concept contiguous_values = requires(Values& values) { std::span(values); };

/// The type of the span over a sequence. Its extent is static where the sequence's type states one.
template <contiguous_values Values>
using span_over = decltype(std::span(std::declval<Values&>()));

/// False for a temporary that owns its values: they end with the expression that made it.
template <class Values>
inline constexpr bool outlives_expression =
    std::is_lvalue_reference_v<Values> || std::ranges::enable_borrowed_range<std::remove_cvref_t<Values>>;

[[noreturn, gnu::cold, gnu::noinline]] inline void throw_values_over(std::string_view who, std::int64_t values,
                                                                     const dims& sample) {
  const std::int64_t size = sample.size();
  throw shape_error(who, std::to_string(size).append(" values a sample (").append(to_string(sample)).append(")"),
                    std::to_string(values)
                        .append(" values: ")
                        .append(std::to_string(values / size))
                        .append(" samples and ")
                        .append(std::to_string(values % size))
                        .append(" over"));
}

/// Returns how many samples of the given extents `values` values make. Throws shape_error when some are left over.
constexpr std::int64_t samples_in(std::string_view who, std::size_t values, const dims& sample) {
  const auto count = static_cast<std::int64_t>(values);
  const std::int64_t size = sample.size();
  if (count % size != 0) throw_values_over(who, count, sample);
  return count / size;
}

}  // namespace detail

/// Views contiguous values as a batch of samples with the given extents: `view<3, 32, 32>(pixels)` for a std::vector,
/// std::array, std::span or array of floats. Copies nothing: the view must not outlive the values.
/// Throws shape_error when the values do not make whole samples; where their type states their number, such a call does
/// not compile.
template <std::int64_t... Sample, class Values>
[[nodiscard]] constexpr auto view(Values&& values) {
  constexpr dims extents = shape<Sample...>::extents;
  if constexpr (!detail::contiguous_values<std::remove_reference_t<Values>>) {
    static_assert(detail::contiguous_values<std::remove_reference_t<Values>>,
                  "lockstep: view: takes values that lie back to back: a std::vector, a std::array, a std::span or an "
                  "array");
    return batch_view<const float, Sample...>();
  } else {
    static_assert(
        detail::outlives_expression<Values>,
        "lockstep: view: the values are a temporary, which is gone before the view is read; give them a name");
    using span = detail::span_over<std::remove_reference_t<Values>>;
    if constexpr (span::extent != std::dynamic_extent)
      static_assert(static_cast<std::int64_t>(span::extent) % extents.size() == 0,
                    "lockstep: view: the values are no whole number of samples (Sample...)");
    const span all(values);
    return batch_view<typename span::element_type, Sample...>(all.data(),
                                                              detail::samples_in("view", all.size(), extents));
  }
}

}  // namespace lockstep
