// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include <lockstep/core/shape.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/inputs.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// A model of rows that is run one row at a time.

namespace lockstep::detail {

/// The network of a model of T tokens as one of a single token, whose layers have the same parameters.
template <class Model>
using row_model = model<typename Model::network, tokens<1>>;

/// Fails to compile for a layer that cannot be run row by row; the compiler's note shows it.
template <class Layer>
consteval bool require_rows() {
  static_assert(Layer::traits.rows != row_rule::mixed,
                "lockstep: generator: this layer (Layer) computes a row of its output from any rows of its input, so "
                "that it cannot run one row at a time; attention must be causal");
  return Layer::traits.rows != row_rule::mixed;
}

template <class Model>
consteval bool check_generated() {
  static_assert(Model::input_count == 1 && Model::takes_tokens[0],
                "lockstep: generator: the model's only input is tokens<T>");
  if constexpr (Model::input_count == 1 && Model::takes_tokens[0]) {
    static_assert(Model::output_dims.rank == 2 && Model::output_dims[0] == Model::input_dims[0],
                  "lockstep: generator: the model's output is a row of logits for each token, (T, Vocabulary)");
    return []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
      return (... && require_rows<typename Model::template leaf<Leaf>>());
    }(std::make_index_sequence<Model::leaf_count>{});
  }
  return true;
}

/// The rows that all layers of a model know places for.
template <class Model>
consteval std::int64_t most_rows() {
  std::int64_t most = std::int64_t{1} << 24U;
  static_for<Model::leaf_count>([&]<std::size_t Leaf>() {
    using layer = typename Model::template leaf<Leaf>;
    if constexpr (requires { layer::most_rows; }) most = (std::min)(most, std::int64_t{layer::most_rows});
  });
  return most;
}

/// Elements that a layer keeps of a sequence of at most so many rows.
template <class Model>
[[nodiscard]] std::int64_t kept_values(std::size_t leaf, std::int64_t rows) {
  static constexpr auto sizes = []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
    return std::array<std::int64_t (*)(std::int64_t), Model::leaf_count>{[](std::int64_t most) -> std::int64_t {
      using layer = typename Model::template leaf<Leaf>;
      if constexpr (layer::traits.rows == row_rule::in_order)
        return layer::kept_values(Model::graph.leaves[Leaf].in, most);
      else
        return 0;
    }...};
  }(std::make_index_sequence<Model::leaf_count>{});
  return sizes[leaf](rows);
}

}  // namespace lockstep::detail
