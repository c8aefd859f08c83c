// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// Converts integer labels from one type to another. The memory is kept: a call allocates only for a batch larger than
/// all before.
template <std::integral To>
class label_buffer {
 public:
  /// A copy of the labels, valid until the next call. Throws value_error for a label that `To` cannot hold.
  template <std::integral From>
  [[nodiscard]] std::span<const To> convert(std::string_view who, std::span<const From> labels) {
    labels_.resize(labels.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
      // The plus sign promotes a bool or a character to an int.
      if (!std::in_range<To>(+labels[i])) refuse(who, std::to_string(+labels[i]), i);
      labels_[i] = static_cast<To>(labels[i]);
    }
    return labels_;
  }

 private:
  [[noreturn, gnu::cold, gnu::noinline]] static void refuse(std::string_view who, const std::string& label,
                                                            std::size_t sample) {
    throw value_error(who, "targets that are class indices", label + " for sample " + std::to_string(sample));
  }

  std::vector<To> labels_;
};

}  // namespace lockstep::detail
