// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/backend/resampling.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/activation/function_layer.hpp>
#include <lockstep/nn/activation/softmax.hpp>
#include <lockstep/nn/adaptive_avg_pool2d.hpp>
#include <lockstep/nn/batch_norm.hpp>
#include <lockstep/nn/conv1d.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/group_norm.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/recurrent.hpp>
#include <lockstep/nn/sample_norm.hpp>
#include <lockstep/nn/skippable.hpp>
#include <lockstep/nn/upsample.hpp>

/// \file
/// What a layer computes in a prediction, as data.

namespace lockstep::detail::infer {

enum class form_kind : std::uint8_t {
  unsupported,
  identity,
  flatten,
  relu,
  map,  ///< a function of each element
  linear,
  convolution,
  pooling,
  resampling,
  batch_norm,
  sample_norm,
  softmax,
  recurrent,
};

/// A layer at its place; of the members that follow `kind`, those that the kind has a use for.
struct layer_form {
  form_kind kind = form_kind::unsupported;
  std::int64_t outputs = 0;
  bool weight = false;
  bool bias = false;
  convolution_geometry convolution{};
  pooling_geometry pooling{};
  resampling_geometry resampling{};
  recurrent_geometry recurrent{};
  std::int64_t groups = 0;  ///< of channels; 0 for a normalisation of rows, or of all of a picture
  bool centred = false;
  bool logarithm = false;
  double epsilon = 0;

  [[nodiscard]] constexpr std::int64_t channels_of_group(std::int64_t channels) const {
    return groups > 0 ? channels / groups : channels;
  }
};

constexpr layer_form form_of(const void*, const dims&) { return {}; }

template <std::int64_t In, std::int64_t Out, bool Bias>
constexpr layer_form form_of(const basic_linear<In, Out, Bias>*, const dims&) {
  return {.kind = form_kind::linear, .outputs = Out, .weight = true, .bias = Bias};
}
template <std::int64_t Out, extent2 Kernel, class... Options>
constexpr layer_form form_of(const conv2d<Out, Kernel, Options...>*, const dims& in) {
  const convolution_geometry g = conv2d<Out, Kernel, Options...>::geometry(in);
  return {.kind = form_kind::convolution, .outputs = Out, .weight = true, .bias = g.bias, .convolution = g};
}
template <std::int64_t Out, std::int64_t Kernel, class... Options>
constexpr layer_form form_of(const conv1d<Out, Kernel, Options...>*, const dims& in) {
  const convolution_geometry g = conv1d<Out, Kernel, Options...>::geometry(in);
  return {.kind = form_kind::convolution, .outputs = Out, .weight = true, .bias = g.bias, .convolution = g};
}
template <int Rank, pooling_kind Kind, extent2 Kernel, window_options Options>
constexpr layer_form form_of(const window_pooling<Rank, Kind, Kernel, Options>*, const dims& in) {
  return {.kind = form_kind::pooling, .pooling = window_pooling<Rank, Kind, Kernel, Options>::geometry(in)};
}
template <class Source>
constexpr layer_form form_of(const function_layer<Source>*, const dims&) {
  return {.kind = form_kind::map};
}
template <bool Logarithm>
constexpr layer_form form_of(const softmax<Logarithm>*, const dims&) {
  return {.kind = form_kind::softmax, .logarithm = Logarithm};
}
template <sample_norm_options Options, bool Centred>
constexpr layer_form form_of(const row_norm<Options, Centred>*, const dims&) {
  return {.kind = form_kind::sample_norm,
          .weight = Options.affine,
          .bias = Options.bias,
          .centred = Centred,
          .epsilon = Options.epsilon_value.value()};
}
template <std::int64_t Groups, class... Options>
constexpr layer_form form_of(const group_norm<Groups, Options...>*, const dims&) {
  constexpr sample_norm_options options = group_norm<Groups, Options...>::options;
  return {.kind = form_kind::sample_norm,
          .weight = options.affine,
          .bias = options.bias,
          .groups = Groups,
          .centred = true,
          .epsilon = options.epsilon_value.value()};
}
template <int Rank, class... Options>
constexpr layer_form form_of(const batch_norm<Rank, Options...>*, const dims&) {
  constexpr batch_norm_options options = batch_norm<Rank, Options...>::options;
  return {.kind = form_kind::batch_norm, .weight = options.affine, .epsilon = options.epsilon_value};
}
template <recurrent_kind Kind, std::int64_t Hidden, recurrent_options Options, int Layer>
constexpr layer_form form_of(const recurrent_layer<Kind, Hidden, Options, Layer>*, const dims& in) {
  return {.kind = form_kind::recurrent, .recurrent = recurrent_layer<Kind, Hidden, Options, Layer>::geometry(in)};
}
template <probability P>
constexpr layer_form form_of(const dropout<P>*, const dims&) {
  return {.kind = form_kind::identity};
}
template <probability P>
constexpr layer_form form_of(const dropout2d<P>*, const dims&) {
  return {.kind = form_kind::identity};
}
constexpr layer_form form_of(const flatten*, const dims&) { return {.kind = form_kind::flatten}; }
constexpr layer_form form_of(const relu*, const dims&) { return {.kind = form_kind::relu}; }

[[nodiscard]] constexpr layer_form resampling_form(resampling_kind kind, const dims& in, const dims& out) {
  return {.kind = form_kind::resampling,
          .resampling = {.kind = kind, .channels = in[0], .in = {in[1], in[2]}, .out = {out[1], out[2]}}};
}
template <std::int64_t Height, std::int64_t Width>
constexpr layer_form form_of(const adaptive_avg_pool2d<Height, Width>*, const dims& in) {
  return resampling_form(resampling_kind::average, in, adaptive_avg_pool2d<Height, Width>::output(in));
}
template <bool IsScale, extent2 Given, class... Options>
constexpr layer_form form_of(const upsampling<IsScale, Given, Options...>*, const dims& in) {
  using layer = upsampling<IsScale, Given, Options...>;
  return resampling_form(layer::options.kind(), in, layer::output(in));
}
template <class Layer>
constexpr layer_form form_of(const skippable<Layer>*, const dims& in) {
  return form_of(static_cast<const Layer*>(nullptr), in);
}

/// The forms of a model's layers.
template <class Model>
inline constexpr auto layer_forms = []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
  return std::array<layer_form, sizeof...(Leaf)>{
      form_of(static_cast<const typename Model::template leaf<Leaf>*>(nullptr), Model::graph.leaves[Leaf].in)...};
}(std::make_index_sequence<Model::leaf_count>{});

/// The layer that `skippable` stands around.
template <class Layer>
struct layer_inside {
  using type = Layer;
};
template <class Layer>
struct layer_inside<skippable<Layer>> {
  using type = Layer;
};

/// The function of a layer that is a map, computed in float.
template <class Source>
constexpr auto function_of(const function_layer<Source>*) {
  return Source::template of<float>();
}

}  // namespace lockstep::detail::infer
