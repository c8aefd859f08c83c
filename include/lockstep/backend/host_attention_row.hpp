// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

/// \file
/// Attention of the newest row of a sequence, for backends whose memory the host reads.

namespace lockstep {

/// Rows of a sequence that come one after the other: `before` rows have come, of at most `most`.
struct attention_row_geometry {
  std::int64_t heads = 1;
  std::int64_t width = 1;  ///< of a head
  std::int64_t before = 0;
  std::int64_t most = 1;
  double scale = 1;  ///< of the scores

  /// Elements of a row of queries, keys or values.
  [[nodiscard]] constexpr std::int64_t row() const { return heads * width; }
};

namespace host {

/// For each of `samples` samples: x is [q | k | v], one row of each. Puts k and v into row `before` of kept, (most, 2
/// rows of k and v) a sample, and y = the attention of q to the rows 0 .. before there, head by head. `scores` has room
/// for as many numbers as there are rows.
template <class A>
void attend_to_kept(const attention_row_geometry& g, std::int64_t samples, const A* x, A* kept, double* scores, A* y) {
  const std::int64_t row = g.row();
  for (std::int64_t s = 0; s < samples; ++s, x += 3 * row, kept += g.most * 2 * row, y += row) {
    std::copy_n(x + row, 2 * row, kept + g.before * 2 * row);
    for (std::int64_t h = 0; h < row; h += g.width) {
      double top = -INFINITY;
      for (std::int64_t j = 0; j <= g.before; ++j) {
        const A* const k = kept + j * 2 * row + h;
        double score = 0;
        for (std::int64_t i = 0; i < g.width; ++i) score += static_cast<double>(x[h + i]) * static_cast<double>(k[i]);
        scores[j] = score * g.scale;
        top = (std::max)(top, scores[j]);
      }
      double sum = 0;
      for (std::int64_t j = 0; j <= g.before; ++j) sum += scores[j] = std::exp(scores[j] - top);
      for (std::int64_t i = 0; i < g.width; ++i) {
        double value = 0;
        for (std::int64_t j = 0; j <= g.before; ++j)
          value += scores[j] * static_cast<double>(kept[(j * 2 + 1) * row + h + i]);
        y[h + i] = static_cast<A>(value / sum);
      }
    }
  }
}

}  // namespace host

}  // namespace lockstep
