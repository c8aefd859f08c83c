// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/sample_norm.hpp>

namespace lockstep {

/// y = (x - mean) / sqrt(variance + epsilon) weight + bias: each sample is normalised by its own mean and variance, as
/// torch.nn.LayerNorm. Samples of C features and each of the T rows of (T, C) are LayerNorm(C); a picture is normalised
/// over all of its elements, each with a weight of its own, as LayerNorm([C, H, W]). Parameters `weight`, `bias`:
/// (C), or (C, H, W). Options: epsilon<> (1e-5), no_affine, no_bias. A relu after it becomes part of it.
template <class... Options>
struct layer_norm {
  static constexpr std::string_view kind = "layer_norm";
  static constexpr layer_traits traits = [] {
    layer_traits t = detail::sample_norm_traits;
    t.takes_rows = true;
    t.takes_any_order = true;
    return t;
  }();
  static constexpr detail::sample_norm_options options = detail::sample_norm_options::of<Options...>({});
  template <class B>
  static constexpr bool runs_on = normalises_samples<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(options.known, "lockstep: layer_norm: takes epsilon<>, no_affine and no_bias");
    static_assert(options.epsilon_value >= 0, "lockstep: layer_norm: epsilon is not negative");
    static_assert(
        Arriving.rank <= 3,
        "lockstep: layer_norm: the sample that arrives (Arriving) is neither a row of features, nor rows (T, C), "
        "nor a picture of channels x height x width");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    return detail::sample_norm_parameters(options, in.rank == 2 ? dims{in[1]} : in);
  }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return detail::sample_norm_flops(in); }

  [[nodiscard]] static constexpr sample_norm_geometry geometry(const node_traits& t) {
    sample_norm_geometry g = detail::sample_norm_of(options, t, detail::row_layout(t.in));
    g.centred = true;
    return g;
  }

  template <class B, node_traits T>
  using op =
      detail::sample_norm_op<B, T, geometry(T), T.in.rank == 2 ? T.in.extent[0] : 1, real(options.epsilon_value)>;
};

}  // namespace lockstep
