// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/nn/projection.hpp>

namespace lockstep {

namespace detail {

inline constexpr projection_form gpt2_projection{.transposed = true, .weights = projection_form::start::gpt2};

template <std::int64_t In, std::int64_t Out>
struct basic_transposed_linear : projection<[] {
  projection_form f = gpt2_projection;
  f.out = Out;
  return f;
}()> {
  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank <= 2,
                  "lockstep: transposed_linear: the sample that arrives is not flat; put lockstep::flatten before it");
    static_assert(Arriving.rank > 2 || In == 0 || row_features(Arriving) == In,
                  "lockstep: transposed_linear<In, Out>: In is not the number of features that arrive (Arriving); "
                  "correct In, or write transposed_linear<Out> to have it deduced");
    static_assert(Out > 0 && In >= 0, "lockstep: transposed_linear: the numbers of features are positive");
  }
};

template <std::int64_t... N>
struct transposed_linear_of {
  static_assert(sizeof...(N) == 1 || sizeof...(N) == 2,
                "lockstep: transposed_linear: write transposed_linear<Out> or transposed_linear<In, Out>");
};
template <std::int64_t Out>
struct transposed_linear_of<Out> {
  using type = basic_transposed_linear<0, Out>;
};
template <std::int64_t In, std::int64_t Out>
struct transposed_linear_of<In, Out> {
  using type = basic_transposed_linear<In, Out>;
};

}  // namespace detail

/// y = x W + b, as transformers' Conv1D in GPT-2: linear with `weight` (In, Out) and `bias` (Out) in files, at the same
/// cost. Weights begin uniform with GPT-2's deviation of 0.02, biases with 0. `transposed_linear<Out>`, or
/// `transposed_linear<In, Out>`, which checks In.
template <std::int64_t... N>
using transposed_linear = typename detail::transposed_linear_of<N...>::type;

}  // namespace lockstep
