// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/nn/sample_norm.hpp>

namespace lockstep {

/// y = x / sqrt(mean of x^2 + epsilon) weight: each sample is divided by its own root mean square, as torch.nn.RMSNorm.
/// Samples of C features and each of the T rows of (T, C) are RMSNorm(C); a picture is divided by that of all of its
/// elements, each with a weight of its own, as RMSNorm([C, H, W]). Parameter `weight`: (C), or (C, H, W). Options:
/// epsilon<> (2^-23, which is PyTorch's for float32, on every backend), no_affine. A relu after it becomes part of it.
template <class... Options>
struct rms_norm
    : detail::row_norm<detail::sample_norm_options::of<Options...>({.epsilon_value = 0x1p-23, .bias = false}), false> {
  static constexpr std::string_view kind = "rms_norm";

  template <dims Arriving>
  static consteval void check() {
    static_assert(rms_norm::options.known && !rms_norm::options.names_bias,
                  "lockstep: rms_norm: takes epsilon<> and no_affine");
    static_assert(rms_norm::options.epsilon_value.value() >= 0, "lockstep: rms_norm: epsilon is not negative");
    static_assert(
        Arriving.rank <= 3,
        "lockstep: rms_norm: the sample that arrives (Arriving) is neither a row of features, nor rows (T, C), "
        "nor a picture of channels x height x width");
  }
};

}  // namespace lockstep
