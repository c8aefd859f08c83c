// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/sample_norm.hpp>

namespace lockstep {

/// y = (x - mean) / sqrt(variance + epsilon) weight + bias, where mean and variance are those of a group of channels of
/// the sample, as torch.nn.GroupNorm(Groups, C). The first extent of a sample is its channels, which are cut into
/// Groups of as many that follow each other. Parameters `weight`, `bias` (C). Options: epsilon<> (1e-5), no_affine,
/// no_bias. A relu after it becomes part of it.
template <std::int64_t Groups, class... Options>
struct group_norm {
  /// Groups, or 1 for a number that `check` refuses.
  static constexpr std::int64_t groups = Groups > 0 ? Groups : 1;
  static constexpr std::string_view kind = "group_norm";
  static constexpr layer_traits traits = [] {
    layer_traits t = detail::sample_norm_traits;
    t.takes_any_picture_order = true;
    return t;
  }();
  static constexpr detail::sample_norm_options options = detail::sample_norm_options::of<Options...>({});
  template <class B>
  static constexpr bool runs_on = normalises_samples<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(options.known, "lockstep: group_norm: takes epsilon<>, no_affine and no_bias");
    static_assert(options.epsilon_value.value() >= 0, "lockstep: group_norm: epsilon is not negative");
    static_assert(
        Groups > 0 && Arriving[0] % groups == 0,
        "lockstep: group_norm: the groups must divide the channels that arrive (the first extent of Arriving)");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    return detail::sample_norm_parameters(options, dims{in[0]});
  }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return detail::sample_norm_flops(in); }

  [[nodiscard]] static constexpr sample_norm_geometry geometry(const node_traits& t) {
    sample_norm_geometry g = detail::sample_norm_of(
        options, t, {.channels = t.in[0], .pixels = t.in.size() / t.in[0], .channels_last = t.picture.rank == 3});
    g.groups = groups;
    return g;
  }

  template <class B, node_traits T>
  using op = detail::sample_norm_op<B, T, geometry(T), 1, options.epsilon_value>;
};

}  // namespace lockstep
