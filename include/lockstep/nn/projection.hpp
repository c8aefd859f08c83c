// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/linear_op.hpp>

namespace lockstep::detail {

/// How a layer that multiplies rows by weights differs from linear.
struct projection_form {
  std::int64_t out = 0;  ///< features; 0: `times` those that arrive
  std::int64_t times = 1;
  bool bias = true;
  bool transposed = false;  ///< weight (in, out)
  bool in_proj = false;     ///< parameters `in_proj_weight` and `in_proj_bias`
  enum class start : std::uint8_t {
    linear,          ///< weights as those of linear
    xavier_uniform,  ///< sqrt(6 / (in + out)), Glorot and Bengio, 2010
    gpt2             ///< of deviation 0.02, as transformers starts GPT-2
  };
  start weights = start::linear;

  [[nodiscard]] constexpr std::int64_t outputs(const dims& in) const {
    return out > 0 ? out : times * row_features(in);
  }
  [[nodiscard]] constexpr double bound(const dims& in) const {
    const std::int64_t features = row_features(in);
    switch (weights) {
      case start::xavier_uniform:
        return inverse_root(static_cast<double>(features + outputs(in)) / 6);
      case start::gpt2:
        return 0.02 / inverse_root(3);
      default:
        return default_bound(features);
    }
  }
};

/// A linear layer of that form. Its bias begins with zeros.
template <projection_form Form>
struct projection {
  static constexpr std::string_view kind = "linear";
  static constexpr layer_traits traits = linear_traits;

  [[nodiscard]] static constexpr dims output(const dims& in) { return with_features(in, Form.outputs(in)); }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    const std::int64_t features = row_features(in);
    const std::int64_t outputs = Form.outputs(in);
    parameter_list list;
    list.add(Form.in_proj ? "in_proj_weight" : "weight",
             Form.transposed ? dims{features, outputs} : dims{outputs, features}, Form.bound(in));
    if (Form.bias) list.add_constant(Form.in_proj ? "in_proj_bias" : "bias", dims{outputs}, 0);
    return list;
  }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return 2 * in.size() * Form.outputs(in); }

  template <class B, node_traits T>
  using op = std::conditional_t<Form.transposed, transposed_linear_op<B, T, Form.bias>, linear_op<B, T, Form.bias>>;
};

}  // namespace lockstep::detail
