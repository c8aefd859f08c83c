// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <lockstep/inference/convolution_shape.hpp>
#include <lockstep/inference/layer_form.hpp>
#include <lockstep/inference/linear_kernel.hpp>
#include <lockstep/inference/program.hpp>
#include <lockstep/inference/program_builder.hpp>
#include <lockstep/inference/recurrent_kernel.hpp>
#include <lockstep/inference/state.hpp>

/// \file
/// Brings weights into the order in which the kernels read them.

namespace lockstep::detail::infer {

/// A batch normalisation as y = x scale + shift by channel; the identity without one.
class channel_map {
 public:
  channel_map() = default;
  /// `tensors` are the layer's: weight and bias if it has them, then mean and variance.
  channel_map(const layer_form& form, std::int64_t channels, const float* tensors)
      : affine_(form.weight ? tensors : nullptr),
        mean_(tensors + (form.weight ? 2 * channels : 0)),
        channels_(channels),
        epsilon_(form.epsilon) {}

  [[nodiscard]] double scale(std::int64_t c) const {
    if (mean_ == nullptr) return 1;
    const double inverse = 1 / std::sqrt(static_cast<double>(mean_[channels_ + c]) + epsilon_);
    return affine_ == nullptr ? inverse : inverse * static_cast<double>(affine_[c]);
  }
  [[nodiscard]] double mean(std::int64_t c) const { return mean_ == nullptr ? 0.0 : static_cast<double>(mean_[c]); }
  [[nodiscard]] double shift(std::int64_t c) const {
    return affine_ == nullptr ? 0.0 : static_cast<double>(affine_[channels_ + c]);
  }
  [[nodiscard]] float of_weight(std::int64_t c, float weight) const {
    return mean_ == nullptr ? weight : static_cast<float>(static_cast<double>(weight) * scale(c));
  }
  [[nodiscard]] float of_bias(std::int64_t c, float bias) const {
    return mean_ == nullptr ? bias : static_cast<float>((static_cast<double>(bias) - mean(c)) * scale(c) + shift(c));
  }

 private:
  const float* affine_ = nullptr;
  const float* mean_ = nullptr;
  std::int64_t channels_ = 0;
  double epsilon_ = 0;
};

/// Writes blocks of `block` outputs, the last of what is left, rounded up to vectors: the bias, then for each of
/// `inputs` positions the weights of all outputs. `weight(o, i)` and `bias(o)` are asked for existing outputs.
template <class Weight, class Bias>
void pack_blocks(std::int64_t outputs, std::int64_t inputs, std::int64_t vector, std::int64_t block,
                 const Weight& weight, const Bias& bias, float* to) {
  const std::int64_t padded = round_up(outputs, vector);
  for (std::int64_t first = 0; first < padded; first += block) {
    const std::int64_t end = (std::min)(first + block, padded);
    for (std::int64_t i = -1; i < inputs; ++i)
      for (std::int64_t o = first; o < end; ++o) *to++ = o >= outputs ? 0.F : i < 0 ? bias(o) : weight(o, i);
  }
}

/// The index in PyTorch's order of the element that is number i in the order of `in_memory_order`.
[[nodiscard]] constexpr std::int64_t index_in_memory(const value_layout& l, std::int64_t i) {
  return l.is_channels_last() ? i % l.channels * l.height * l.width + i / l.channels : i;
}

/// The packed weights of one step, from the tensors of its layer.
inline void pack_linear(const step& s, const layer_form& form, const value_layout& in, std::int64_t vector,
                        const float* tensors, const channel_map& map, float* to) {
  const std::int64_t inputs = in.extents.rank == 2 ? in.width : in.elements();
  const float* const bias = tensors + form.outputs * inputs;
  const auto bias_of = [&](std::int64_t o) { return map.of_bias(o, form.bias ? bias[o] : 0.F); };
  if (s.kind == step_kind::dot) {
    const std::int64_t padded = round_up(form.outputs, vector);
    for (std::int64_t o = 0; o < padded; ++o) *to++ = o < form.outputs ? bias_of(o) : 0.F;
    for (std::int64_t i = 0; i < form.outputs * inputs; ++i) *to++ = map.of_weight(i / inputs, tensors[i]);
    return;
  }
  const bool whole_sample = in.extents.rank != 2;
  pack_blocks(
      form.outputs, inputs, vector, linear_block * vector,
      [&](std::int64_t o, std::int64_t i) {
        return map.of_weight(o, tensors[o * inputs + (whole_sample ? index_in_memory(in, i) : i)]);
      },
      bias_of, to);
}

inline void pack_convolution(const step& s, const layer_form& form, std::int64_t vector, const float* tensors,
                             const channel_map& map, float* to) {
  const convolution_geometry& g = form.convolution;
  const std::int64_t in_group = g.in_channels / g.groups;
  const std::int64_t area = g.kernel.height * g.kernel.width;
  const float* const bias = tensors + g.weight_size();
  const auto bias_of = [&](std::int64_t o) { return map.of_bias(o, g.bias ? bias[o] : 0.F); };
  // Tap i is (height, width, input channel).
  const auto weight_of = [&](std::int64_t o, std::int64_t i) {
    return map.of_weight(o, tensors[(o * in_group + i % in_group) * area + i / in_group]);
  };
  if (s.kind == step_kind::convolution) {
    const std::int64_t vectors = round_up(g.out_channels, vector) / vector;
    pack_blocks(g.out_channels, area * in_group, vector, block_vectors(vectors, vector) * vector, weight_of, bias_of,
                to);
    return;
  }
  for (std::int64_t o = 0; o < g.out_channels; ++o) *to++ = bias_of(o);
  if (s.kind == step_kind::pixel_convolution) {
    for (std::int64_t i = 0; i < area * in_group; ++i)
      for (std::int64_t o = 0; o < g.out_channels; ++o) *to++ = weight_of(o, i);
  } else {
    for (std::int64_t i = 0; i < g.weight_size(); ++i) *to++ = map.of_weight(i / (in_group * area), tensors[i]);
  }
}

/// Packs the weights of all steps.
template <class Model, std::int64_t Vector>
void pack_program(const float* state, float* packed) {
  constexpr const auto& p = program_of<Model, Vector>;
  const auto tensors_of = [&](int leaf) { return state + state_offsets<Model>[static_cast<std::size_t>(leaf)]; };
  const auto form_of_leaf = [&](int leaf) -> const layer_form& {
    return layer_forms<Model>[static_cast<std::size_t>(leaf)];
  };
  for (int i = 0; i < p.step_count; ++i) {
    const step& s = p.at(i);
    if (s.leaf < 0) continue;
    const layer_form& form = form_of_leaf(s.leaf);
    const value_layout& in = p.in(s);
    float* const to = packed + s.packed;
    const channel_map map =
        s.folded < 0 ? channel_map{} : channel_map(form_of_leaf(s.folded), form.outputs, tensors_of(s.folded));
    if (form.kind == form_kind::linear) {
      pack_linear(s, form, in, Vector, tensors_of(s.leaf), map, to);
    } else if (form.kind == form_kind::convolution) {
      pack_convolution(s, form, Vector, tensors_of(s.leaf), map, to);
    } else if (form.kind == form_kind::batch_norm) {
      const channel_map own(form, in.channels, tensors_of(s.leaf));
      const std::int64_t padded = round_up(in.channels, Vector);
      for (std::int64_t c = 0; c < padded; ++c) {
        const bool exists = c < in.channels;
        to[c] = exists ? static_cast<float>(own.mean(c)) : 0.F;
        to[padded + c] = exists ? static_cast<float>(own.scale(c)) : 0.F;
        to[2 * padded + c] = exists ? static_cast<float>(own.shift(c)) : 0.F;
      }
    } else if (form.kind == form_kind::recurrent) {
      pack_recurrent(form.recurrent, Vector, tensors_of(s.leaf), to);
    } else if (form.kind == form_kind::sample_norm) {
      const std::int64_t size = Model::graph.leaves[static_cast<std::size_t>(s.leaf)].parameters.size();
      to[0] = static_cast<float>(form.epsilon);
      std::copy_n(tensors_of(s.leaf), size, to + 1);
    }
  }
}

}  // namespace lockstep::detail::infer
