// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/probability.hpp>

namespace lockstep {

/// Where rows lie in an array: row t of sample s begins at element s * sample + t * row.
struct attention_rows {
  std::int64_t sample = 0;
  std::int64_t row = 0;

  friend constexpr bool operator==(const attention_rows&, const attention_rows&) = default;
};

/// Scaled dot-product attention of one sample: a template argument of the primitive that a backend prepares. Head h
/// takes elements [h * width, (h + 1) * width) of each row. Queries, keys and values may lie in one array, each row
/// after another, or in arrays of their own.
struct attention_geometry {
  std::int64_t queries = 1;
  std::int64_t keys = 1;
  std::int64_t heads = 1;
  std::int64_t width = 1;
  attention_rows q{};
  attention_rows k{};
  attention_rows v{};
  attention_rows y{};
  bool causal = false;      ///< query i sees keys 0 .. i
  probability dropout = 0;  ///< of a probability, while training

  /// 1 / sqrt(width), which keeps the variance of a product of independent numbers.
  [[nodiscard]] double default_scale() const { return 1 / std::sqrt(static_cast<double>(width)); }

  /// How many keys query i sees of a sample that has `length` of them.
  [[nodiscard]] constexpr std::int64_t seen(std::int64_t i, std::int64_t length) const {
    return causal ? (std::min)(i + 1, length) : length;
  }

  friend constexpr bool operator==(const attention_geometry& a, const attention_geometry& b) {
    return a.queries == b.queries && a.keys == b.keys && a.heads == b.heads && a.width == b.width && a.q == b.q &&
           a.k == b.k && a.v == b.v && a.y == b.y && a.causal == b.causal && a.dropout.parts == b.dropout.parts;
  }
};

/// What attention takes besides its tensors; both passes of the same samples take the same. The arrays are in the
/// backend's memory.
struct attention_arguments {
  const std::int32_t* key_lengths = nullptr;  ///< for each sample, how many of its keys count; null: all of them
  const dropout_key* dropout = nullptr;       ///< null: nothing is dropped

  /// The keys that count in a sample of geometry g.
  [[nodiscard]] std::int64_t length(const attention_geometry& g, std::int64_t sample) const {
    return key_lengths == nullptr ? g.keys : std::clamp<std::int64_t>(key_lengths[sample], 0, g.keys);
  }
};

}  // namespace lockstep
