// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/model/pipeline.hpp>

namespace lockstep::detail {

/// A parameter as a row-major matrix, in the order in which a backend keeps its elements.
struct parameter_matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

template <class Model, class B, std::size_t P>
[[nodiscard]] consteval parameter_matrix matrix_of_parameter() {
  constexpr plan_parameter parameter = Model::template plan<B>.parameters[P];
  constexpr std::int64_t size = parameter.shape.size();
  using op = typename node_op<Model, B, static_cast<std::size_t>(parameter.node)>::type;
  if constexpr (parameter.shape.rank < 2) {
    return {size, 1};
  } else {
    constexpr std::int64_t out = parameter.shape[0];
    constexpr std::int64_t columns = size / out;
    if constexpr (out > 1 && requires { op::physical(parameter.index, columns); }) {
      // The distance between two outputs' weights for the same input.
      constexpr std::int64_t stride = op::physical(parameter.index, columns) - op::physical(parameter.index, 0);
      if constexpr (stride == 1) return {columns, out};
      if constexpr (stride != columns) return {size, 1};
    }
    return {out, columns};
  }
}

/// The matrix of every parameter of a model's plan: PyTorch's weight (out, everything else), or its transpose where the
/// backend keeps that. A vector is one column; so are elements whose order is not that of a matrix.
template <class Model, class B>
inline constexpr auto parameter_matrices = []<std::size_t... P>(std::index_sequence<P...>) {
  return std::array<parameter_matrix, sizeof...(P)>{matrix_of_parameter<Model, B, P>()...};
}(std::make_index_sequence<static_cast<std::size_t>(Model::template plan<B>.parameter_tensors)>{});

}  // namespace lockstep::detail
