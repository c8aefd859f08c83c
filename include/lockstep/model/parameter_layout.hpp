// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/core/random.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/pipeline.hpp>

/// \file
/// Maps PyTorch's order of a parameter's elements, which the user reads and writes, to the order in which the backend
/// keeps them.

namespace lockstep::detail {

/// Calls f(index in PyTorch's order, offset in the flat range) for every element of parameter P.
template <class Model, class B, std::size_t P, class F>
void each_element(const F& f) {
  static constexpr plan_parameter parameter = Model::template plan<B>.parameters[P];
  using op = typename node_op<Model, B, static_cast<std::size_t>(parameter.node)>::type;
  constexpr std::int64_t size = parameter.shape.size();
  for (std::int64_t i = 0; i < size; ++i) {
    if constexpr (requires { op::physical(0, i); })
      f(i, parameter.offset + op::physical(parameter.index, i));
    else
      f(i, parameter.offset + i);
  }
}

/// The same for a parameter whose number is known only at run time.
template <class Model, class B, class F>
void each_element(int parameter, const F& f) {
  static_for<static_cast<std::size_t>(Model::template plan<B>.parameter_tensors)>([&]<std::size_t P>() {
    if (static_cast<int>(P) == parameter) each_element<Model, B, P>(f);
  });
}

}  // namespace lockstep::detail
