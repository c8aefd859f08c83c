// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>

/// \file
/// What the losses have in common whose targets are class indices, one for each row.

namespace lockstep::detail {

/// The classes of an output: (C), or (T, C).
[[nodiscard]] constexpr std::int64_t classes_of(const dims& output) {
  return output.rank == 2 ? output[1] : output.size();
}
/// The rows of an output, each with a target of its own.
[[nodiscard]] constexpr std::int64_t rows_of(const dims& output) { return output.rank == 2 ? output[0] : 1; }

/// Throws value_error unless there are no weights, or one for each class, zero or more.
inline void check_class_weights(std::string_view who, const std::vector<float>& weights, std::int64_t classes) {
  if (!weights.empty() && static_cast<std::int64_t>(weights.size()) != classes)
    throw value_error(who, std::to_string(classes) + " class weights, one for each class",
                      std::to_string(weights.size()));
  for (const float w : weights)
    if (!(w >= 0.F)) throw value_error(who, "class weights of zero or more", std::to_string(w));
}

/// Sum of the weights of `count` targets. Throws value_error for a target that is neither a class nor ignored.
[[nodiscard]] inline double weight_of_classes(std::string_view who, const std::int64_t* targets, std::int64_t count,
                                              const dims& output, const std::vector<float>& weights,
                                              std::int64_t ignore_index) {
  const std::int64_t classes = classes_of(output);
  const std::int64_t rows = rows_of(output);
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t t = targets[i];
    if (t == ignore_index) continue;
    if (t < 0 || t >= classes)
      throw value_error(
          who, "a target in 0.." + std::to_string(classes - 1) + " or " + std::to_string(ignore_index) + " (ignored)",
          std::to_string(t) + " for " + (rows > 1 ? "row " + std::to_string(i % rows) + " of " : "") + "sample " +
              std::to_string(i / rows));
    total += weights.empty() ? 1.0 : double{weights[static_cast<std::size_t>(t)]};
  }
  return total;
}

/// Number of rows whose largest element is the target's; ignored targets do not count.
template <class T>
[[nodiscard]] std::int64_t hit_classes(std::int64_t rows, std::int64_t classes, const T* y, const std::int64_t* targets,
                                       std::int64_t ignore_index) {
  std::int64_t hits = 0;
  for (std::int64_t r = 0; r < rows; ++r, y += classes)
    if (targets[r] != ignore_index && std::max_element(y, y + classes) - y == targets[r]) ++hits;
  return hits;
}

/// Number of targets that are not ignored.
[[nodiscard]] inline std::int64_t counted_classes(std::int64_t rows, const std::int64_t* targets,
                                                  std::int64_t ignore_index) {
  return rows - std::count(targets, targets + rows, ignore_index);
}

}  // namespace lockstep::detail
