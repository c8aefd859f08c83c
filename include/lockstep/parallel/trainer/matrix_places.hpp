// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <lockstep/model/pipeline.hpp>
#include <lockstep/model/plan.hpp>
#include <lockstep/optim/matrix_rule.hpp>
#include <lockstep/parallel/trainer/group_pieces.hpp>

namespace lockstep::detail {

/// A parameter as a matrix of PyTorch's (shape[0], all the rest), and the way to it from the order in which the backend
/// keeps its elements.
template <class T>
struct matrix_place {
  std::int64_t first = 0;  ///< in the flat range
  std::int64_t rows = 0;   ///< 0: it is updated element by element
  std::int64_t columns = 0;
  void (*read)(const T* kept, T* matrix) = nullptr;   ///< copies to a row-major matrix that is at least as wide as high
  void (*write)(const T* matrix, T* kept) = nullptr;  ///< and back

  [[nodiscard]] constexpr std::int64_t size() const { return rows * columns; }
  [[nodiscard]] constexpr std::int64_t lesser() const { return (std::min)(rows, columns); }
  [[nodiscard]] constexpr std::int64_t greater() const { return (std::max)(rows, columns); }
};

template <class Model, class B, std::size_t P>
struct matrix_order {
  static constexpr plan_parameter parameter = Model::template plan<B>.parameters[P];
  using value = typename B::value_type;
  using op = typename node_op<Model, B, static_cast<std::size_t>(parameter.node)>::type;
  static constexpr std::int64_t rows = parameter.shape[0];
  static constexpr std::int64_t columns = parameter.shape.size() / rows;

  /// Calls f(place where the backend keeps an element, its place in the matrix).
  template <class F>
  static void each(const F& f) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::int64_t at = rows > columns ? c * rows + r : r * columns + c;
        if constexpr (requires { op::physical(0, r); })
          f(op::physical(parameter.index, r * columns + c), at);
        else
          f(r * columns + c, at);
      }
  }
  static void read(const value* kept, value* matrix) {
    each([&](std::int64_t from, std::int64_t to) { matrix[to] = kept[from]; });
  }
  static void write(const value* matrix, value* kept) {
    each([&](std::int64_t to, std::int64_t from) { kept[to] = matrix[from]; });
  }
};

/// Which parameters of a model's plan an optimizer updates as matrices.
template <class Model, class B, class Optimizer>
inline constexpr auto matrix_parameters = [] {
  std::array<bool, static_cast<std::size_t>(Model::template plan<B>.parameter_tensors)> all{};
  each_learning_parameter<Model, B, true>([&](std::size_t p, std::size_t, std::string_view name) {
    all[p] = takes_matrix<Optimizer>(name, Model::template plan<B>.parameters[p].shape);
  });
  return all;
}();

template <class Model, class B, class Optimizer, std::size_t P>
[[nodiscard]] consteval matrix_place<typename B::value_type> place_of_matrix() {
  if constexpr (matrix_parameters<Model, B, Optimizer>[P]) {
    using order = matrix_order<Model, B, P>;
    return {order::parameter.offset, order::rows, order::columns, order::read, order::write};
  } else {
    return {};
  }
}

/// The places of all parameters of a model's plan.
template <class Model, class B, class Optimizer>
inline constexpr auto matrix_places = []<std::size_t... P>(std::index_sequence<P...>) {
  return std::array<matrix_place<typename B::value_type>, sizeof...(P)>{place_of_matrix<Model, B, Optimizer, P>()...};
}(std::make_index_sequence<static_cast<std::size_t>(Model::template plan<B>.parameter_tensors)>{});

}  // namespace lockstep::detail
