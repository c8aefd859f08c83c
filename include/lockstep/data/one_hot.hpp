// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/table.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

namespace detail {

template <std::int64_t Classes>
[[nodiscard]] std::vector<float> one_hot_targets(std::span<const std::int64_t> labels) {
  static_assert(Classes > 0, "lockstep: one_hot: there is one class or more");
  std::vector<float> targets(static_cast<std::size_t>(checked_multiply(std::ssize(labels), Classes)));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= Classes)
      throw value_error("one_hot", lockstep::detail::message({"labels from 0 to ", Classes - 1}),
                        lockstep::detail::message({labels[i], " for sample ", i}));
    targets[i * static_cast<std::size_t>(Classes) + static_cast<std::size_t>(labels[i])] = 1;
  }
  return targets;
}

}  // namespace detail

/// Turns each label into a target of Classes floats, 1 at the label and 0 elsewhere, as torch.nn.functional.one_hot:
/// `one_hot<10>(std::move(train))` copies no features. Throws value_error for a label outside 0 .. Classes - 1.
template <std::int64_t Classes, class T, std::int64_t... Extents>
[[nodiscard]] dataset<field<T, Extents...>, field<float, Classes>> one_hot(
    dataset<field<T, Extents...>, field<std::int64_t>> data) {
  auto targets = detail::one_hot_targets<Classes>(data.template values<1>());
  return dataset<field<T, Extents...>, field<float, Classes>>(std::get<0>(std::move(data).release()),
                                                              std::move(targets));
}

/// The same for labelled pictures, whose bytes become x / 255.
template <std::int64_t Classes, std::int64_t... Extents>
[[nodiscard]] dataset<field<float, Extents...>, field<float, Classes>> one_hot(
    const dataset<shape<Extents...>>& pictures) {
  return one_hot<Classes>(to_fields(pictures));
}

}  // namespace lockstep::data
