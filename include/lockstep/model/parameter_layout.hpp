// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/model/pipeline.hpp>

/// \file
/// Maps PyTorch's order of a parameter's elements, which the user reads and writes, to the order in which the backend
/// keeps them.

namespace lockstep::detail {

/// Where elements [first, first + count) of a parameter lie whose op this is, counted from the parameter's offset.
template <class Op>
void find_places(int parameter, std::int64_t first, std::int64_t count, std::int64_t* places) {
  for (std::int64_t i = 0; i < count; ++i) {
    if constexpr (requires { Op::physical(0, i); })
      places[i] = Op::physical(parameter, first + i);
    else
      places[i] = first + i;
  }
}

/// `find_places` of each parameter's op.
template <class Model, class B>
inline constexpr auto place_finders = []<std::size_t... P>(std::index_sequence<P...>) {
  constexpr const auto& plan = Model::template plan<B>;
  return std::array<void (*)(int, std::int64_t, std::int64_t, std::int64_t*), sizeof...(P)>{
      &find_places<typename node_op<Model, B, static_cast<std::size_t>(plan.parameters[P].node)>::type>...};
}(std::make_index_sequence<static_cast<std::size_t>(Model::template plan<B>.parameter_tensors)>{});

/// Calls f(index in PyTorch's order, offset in the flat range) for every element of parameter number `p`. What depends
/// on the parameter's op finds places by the block, so that `f` is compiled once.
template <class Model, class B, class F>
void each_element(int p, const F& f) {
  const plan_parameter& parameter = Model::template plan<B>.parameters[static_cast<std::size_t>(p)];
  const std::int64_t size = parameter.shape.size();
  constexpr std::int64_t block = 256;
  std::int64_t places[block];
  for (std::int64_t first = 0; first < size; first += block) {
    const std::int64_t count = (std::min)(block, size - first);
    place_finders<Model, B>[static_cast<std::size_t>(p)](parameter.index, first, count, places);
    for (std::int64_t i = 0; i < count; ++i) f(first + i, parameter.offset + places[i]);
  }
}

}  // namespace lockstep::detail
