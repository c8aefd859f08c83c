// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/sample_norm.hpp>

namespace lockstep {

/// y = x / sqrt(mean of x^2 + epsilon) weight: each sample is divided by its own root mean square, as torch.nn.RMSNorm.
/// Samples of C features and each of the T rows of (T, C) are RMSNorm(C); a picture is divided by that of all of its
/// elements, each with a weight of its own, as RMSNorm([C, H, W]). Parameter `weight`: (C), or (C, H, W). Options:
/// epsilon<> (2^-23, which is PyTorch's for float32, on every backend), no_affine. A relu after it becomes part of it.
template <class... Options>
struct rms_norm {
  static constexpr std::string_view kind = "rms_norm";
  static constexpr layer_traits traits = [] {
    layer_traits t = detail::sample_norm_traits;
    t.takes_rows = true;
    t.takes_any_order = true;
    return t;
  }();
  static constexpr detail::sample_norm_options options =
      detail::sample_norm_options::of<Options...>({.epsilon_value = 0x1p-23, .bias = false});
  template <class B>
  static constexpr bool runs_on = normalises_samples<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(options.known && !options.names_bias, "lockstep: rms_norm: takes epsilon<> and no_affine");
    static_assert(options.epsilon_value >= 0, "lockstep: rms_norm: epsilon is not negative");
    static_assert(
        Arriving.rank <= 3,
        "lockstep: rms_norm: the sample that arrives (Arriving) is neither a row of features, nor rows (T, C), "
        "nor a picture of channels x height x width");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    return detail::sample_norm_parameters(options, in.rank == 2 ? dims{in[1]} : in);
  }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return detail::sample_norm_flops(in); }

  [[nodiscard]] static constexpr sample_norm_geometry geometry(const node_traits& t) {
    sample_norm_geometry g = detail::sample_norm_of(options, t, detail::row_layout(t.in));
    g.centred = false;
    return g;
  }

  template <class B, node_traits T>
  using op =
      detail::sample_norm_op<B, T, geometry(T), T.in.rank == 2 ? T.in.extent[0] : 1, real(options.epsilon_value)>;
};

}  // namespace lockstep
