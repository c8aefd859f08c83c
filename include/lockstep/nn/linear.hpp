// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/linear_op.hpp>

namespace lockstep {

/// A fully connected layer: y = x W^T + b, W (Out, In), as torch.nn.Linear, for samples of In features and for each of
/// the T rows of (T, In), which become (T, Out). In = 0 takes the features that arrive.
/// Parameters: `weight` (Out, In), `bias` (Out). Cost: 2 In Out flops a row.
template <std::int64_t In, std::int64_t Out, bool Bias>
struct basic_linear {
  static constexpr std::string_view kind = "linear";
  static constexpr layer_traits traits = [] {
    layer_traits all = detail::linear_traits;
    all.is_table = true;
    return all;
  }();

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank <= 2,
                  "lockstep: linear: the sample that arrives is not flat; put lockstep::flatten before it");
    static_assert(Arriving.rank > 2 || In == 0 || detail::row_features(Arriving) == In,
                  "lockstep: linear<In, Out>: In is not the number of features that arrive (Arriving); "
                  "correct In, or write linear<Out> to have it deduced");
    static_assert(Out > 0 && In >= 0, "lockstep: linear: the numbers of features are positive");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return detail::with_features(in, Out); }

  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    parameter_list list;
    const std::int64_t features = detail::row_features(in);
    list.add("weight", dims{Out, features}, detail::default_bound(features));
    if (Bias) list.add("bias", dims{Out}, detail::default_bound(features));
    return list;
  }

  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return 2 * in.size() * Out; }

  template <class B, node_traits T>
  using op = detail::linear_op<B, T, Bias>;
};

namespace detail {

template <bool Bias, std::int64_t... N>
struct linear_of {
  static_assert(sizeof...(N) == 1 || sizeof...(N) == 2, "lockstep: linear: write linear<Out> or linear<In, Out>");
};
template <bool Bias, std::int64_t Out>
struct linear_of<Bias, Out> {
  using type = basic_linear<0, Out, Bias>;
};
template <bool Bias, std::int64_t In, std::int64_t Out>
struct linear_of<Bias, In, Out> {
  using type = basic_linear<In, Out, Bias>;
};

}  // namespace detail

/// `linear<Out>` or `linear<In, Out>`; the second form checks In against the last extent of what arrives.
template <std::int64_t... N>
using linear = typename detail::linear_of<true, N...>::type;

/// The same without a bias.
template <std::int64_t... N>
using linear_without_bias = typename detail::linear_of<false, N...>::type;

}  // namespace lockstep
