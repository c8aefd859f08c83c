// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/nn/sample_norm.hpp>

namespace lockstep {

/// y = (x - mean) / sqrt(variance + epsilon) weight + bias: each sample is normalised by its own mean and variance, as
/// torch.nn.LayerNorm. Samples of C features and each of the T rows of (T, C) are LayerNorm(C); a picture is normalised
/// over all of its elements, each with a weight of its own, as LayerNorm([C, H, W]). Parameters `weight`, `bias`:
/// (C), or (C, H, W). Options: epsilon<> (1e-5), no_affine, no_bias. A relu after it becomes part of it.
template <class... Options>
struct layer_norm : detail::row_norm<detail::sample_norm_options::of<Options...>({}), true> {
  static constexpr std::string_view kind = "layer_norm";

  template <dims Arriving>
  static consteval void check() {
    static_assert(layer_norm::options.known, "lockstep: layer_norm: takes epsilon<>, no_affine and no_bias");
    static_assert(layer_norm::options.epsilon_value.value() >= 0, "lockstep: layer_norm: epsilon is not negative");
    static_assert(
        Arriving.rank <= 3,
        "lockstep: layer_norm: the sample that arrives (Arriving) is neither a row of features, nor rows (T, C), "
        "nor a picture of channels x height x width");
  }
};

}  // namespace lockstep
