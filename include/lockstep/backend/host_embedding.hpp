// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/embedding_geometry.hpp>
#include <lockstep/core/token.hpp>

/// \file
/// The rows of a table by their tokens, for backends whose memory the host reads.

namespace lockstep::host {

/// Looks up tokens and adds up the gradients of their rows, as torch.nn.Embedding. The table lies in the order of the
/// weights of `Product`, a linear product from `width` to `vocabulary`, so that the two can share it.
template <class A, class T, embedding_geometry G, class Product>
class embedding {
 public:
  template <class Context>
  embedding(Context&, std::int64_t rows) : rows_(rows) {}

  /// Sets the number of tokens of the next passes.
  void set_samples(std::int64_t rows) noexcept { rows_ = rows; }

  /// Position of PyTorch's weight[token][i] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t token, std::int64_t i) {
    return Product::weight_offset(token, i);
  }

  /// y (n x width) = the tokens' rows of the table.
  template <class Context>
  void forward(Context&, const token_id* tokens, const A* table, A* y) const {
    for (std::int64_t r = 0; r < rows_; ++r, y += G.width)
      for (std::int64_t i = 0; i < G.width; ++i) y[i] = table[weight_offset(tokens[r], i)];
  }

  /// dtable (+)= the rows of dy, each added to the row of its token, in the order of the tokens. Cost: the whole table
  /// once unless `accumulate`, and then the rows of dy.
  template <class Context>
  void backward(Context&, const token_id* tokens, const A* dy, T* dtable, bool accumulate) const {
    if (!accumulate) std::fill_n(dtable, G.vocabulary * G.width, T{0});
    for (std::int64_t r = 0; r < rows_; ++r, dy += G.width) {
      if (tokens[r] == G.padding) continue;
      for (std::int64_t i = 0; i < G.width; ++i) dtable[weight_offset(tokens[r], i)] += static_cast<T>(dy[i]);
    }
  }

 private:
  std::int64_t rows_;
};

}  // namespace lockstep::host
