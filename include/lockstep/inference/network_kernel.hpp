// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <lockstep/core/static_for.hpp>
#include <lockstep/inference/convolution_kernel.hpp>
#include <lockstep/inference/element_kernels.hpp>
#include <lockstep/inference/linear_kernel.hpp>
#include <lockstep/inference/norm_kernels.hpp>
#include <lockstep/inference/packing.hpp>
#include <lockstep/inference/pooling_kernel.hpp>
#include <lockstep/inference/program_builder.hpp>
#include <lockstep/inference/recurrent_kernel.hpp>

/// \file
/// A whole network as one function, in which every extent is a constant.

namespace lockstep::detail::infer {

/// Samples that go through a network together, so that weights are read once for all of them.
inline constexpr int group_samples = 4;

/// Runs the steps of a model's program on vectors V.
template <class Model, class V>
class network_kernel {
  static constexpr const auto& p = program_of<Model, lanes<V>>;
  static constexpr std::int64_t in_size = Model::input_dims.size();
  static constexpr std::int64_t out_size = Model::output_dims.size();

  struct memory {
    const float* packed;
    const float* x;
    float* y;
    float* arena;
    float* carried;  ///< the states that recurrent layers begin with and leave, or null
  };

  /// Floats from a sample of a value to the next.
  template <int Value>
  static constexpr std::int64_t sample_step =
      p.value_at(Value).where == place::input    ? in_size
      : p.value_at(Value).where == place::output ? out_size
                                                 : p.value_at(Value).layout.size;

  template <int Value, int Samples>
  static LOCKSTEP_ALWAYS_INLINE auto* at(const memory& m, std::int64_t sample = 0) {
    constexpr const value& v = p.value_at(Value);
    const std::int64_t ahead = sample * sample_step<Value>;
    if constexpr (v.where == place::input)
      return m.x + ahead;
    else if constexpr (v.where == place::output)
      return m.y + ahead;
    else
      return m.arena + (v.offset * Samples + ahead);
  }

  template <int Index>
  static constexpr linear_shape linear = [] {
    const step& s = p.at(Index);
    const value_layout& in = p.in(s);
    const value_layout& out = p.out(s);
    linear_shape g{.inputs = in.in_memory_order(),
                   .outputs = layer_forms<Model>[static_cast<std::size_t>(s.leaf)].outputs,
                   .relu = s.relu,
                   .adds = s.addend >= 0};
    if (in.extents.rank == 2) {
      g.inputs = loop_nest{};
      g.inputs.add(in.width, in.pixel_step);
      g.rows = in.channels;
      g.in_row = in.channel_step;
      g.out_row = out.channel_step;
    }
    return g;
  }();

  template <int Index>
  static constexpr convolution_shape convolution = [] {
    const step& s = p.at(Index);
    return convolution_shape{.g = layer_forms<Model>[static_cast<std::size_t>(s.leaf)].convolution,
                             .in = s.scratch >= 0 ? p.layout(s.scratch) : p.in(s),
                             .out = p.out(s),
                             .relu = s.relu,
                             .adds = s.addend >= 0};
  }();

  template <int Index>
  static constexpr norm_shape norm = [] {
    const step& s = p.at(Index);
    const value_layout& in = p.in(s);
    const layer_form& form = layer_forms<Model>[static_cast<std::size_t>(s.leaf)];
    norm_shape g{.centred = form.centred, .weight = form.weight, .bias = form.bias, .relu = s.relu};
    if (form.groups > 0) {
      const std::int64_t channels = form.channels_of_group(in.channels);
      g.parts = form.groups;
      g.part = loops_over(in, channels, in.height, in.width);
      g.part_step = channels * in.channel_step;
      g.weights = in.channels;
      g.part_weight = channels;
      g.by_channel = true;
    } else if (in.extents.rank == 2) {
      g.parts = in.channels;
      g.part = loops_over(in, 1, 1, in.width);
      g.part_step = in.channel_step;
      g.weights = in.width;
    } else {
      g.part = loops_over(in, in.channels, in.height, in.width);
      g.weights = in.elements();
    }
    return g;
  }();

  template <int Index>
  static constexpr recurrent_shape recurrence = [] {
    const step& s = p.at(Index);
    const recurrent_geometry& g = layer_forms<Model>[static_cast<std::size_t>(s.leaf)].recurrent;
    const value_layout& out = p.out(s);
    return recurrent_shape{
        .g = g, .in_row = p.in(s).channel_step, .out_row = g.last_state ? out.size : out.channel_step};
  }();

  /// Runs a kernel as part of this function. In a network of many steps it is a function of its own, and equal layers
  /// share it.
  static constexpr bool shares_code = p.step_count > 32;
  template <class Kernel, class... Arguments>
  static LOCKSTEP_ALWAYS_INLINE void call(Arguments... arguments) {
    if constexpr (shares_code)
      run_apart<V, Kernel>(arguments...);
    else
      Kernel::template run<V>(arguments...);
  }

  /// The samples of one step.
  template <int Index, int Samples>
  static LOCKSTEP_ALWAYS_INLINE void run_step(const memory& m) {
    constexpr const step& s = p.at(Index);
    constexpr int in = p.operand(s, 0);
    const float* const w = m.packed + s.packed;
    if constexpr (s.kind == step_kind::linear) {
      const float* addend = nullptr;
      if constexpr (s.addend >= 0) addend = at<s.addend, Samples>(m);
      call<linear_kernel<linear<Index>, Samples>>(w, static_cast<const float*>(at<in, Samples>(m)), sample_step<in>,
                                                  addend, at<s.out, Samples>(m), sample_step<s.out>);
    } else {
      for (int i = 0; i < Samples; ++i) run_sample<Index, Samples>(m, w, i);
    }
  }

  template <int Index, int Samples>
  static LOCKSTEP_ALWAYS_INLINE void run_sample(const memory& m, const float* w, int i) {
    constexpr const step& s = p.at(Index);
    constexpr int in = p.operand(s, 0);
    constexpr const value_layout& from = p.layout(in);
    constexpr const value_layout& to = p.out(s);
    const float* x = at<in, Samples>(m, i);
    float* const y = at<s.out, Samples>(m, i);
    const float* addend = nullptr;
    if constexpr (s.addend >= 0) addend = at<s.addend, Samples>(m, i);
    if constexpr (s.kind == step_kind::dot) {
      dot_kernel<linear<Index>>::template run<V>(w, x, y);
    } else if constexpr (s.kind == step_kind::convolution || s.kind == step_kind::pixel_convolution ||
                         s.kind == step_kind::loop_convolution) {
      if constexpr (s.scratch >= 0) {
        float* const frame = at<s.scratch, Samples>(m, i);
        frame_kernel<from, p.layout(s.scratch), convolution<Index>.g.padding>::run(x, frame);
        x = frame;
      }
      if constexpr (s.kind == step_kind::convolution)
        call<convolution_kernel<convolution<Index>>>(w, x, addend, y);
      else if constexpr (s.kind == step_kind::pixel_convolution)
        call<pixel_convolution_kernel<convolution<Index>>>(w, x, addend, y);
      else
        loop_convolution_kernel<convolution<Index>>::run(w, x, addend, y);
    } else if constexpr (s.kind == step_kind::pooling) {
      pooling_kernel<layer_forms<Model>[static_cast<std::size_t>(s.leaf)].pooling, from, to>::template run<V>(x, y);
    } else if constexpr (s.kind == step_kind::resampling) {
      resampling_kernel<layer_forms<Model>[static_cast<std::size_t>(s.leaf)].resampling, from, to>::run(x, y);
    } else if constexpr (s.kind == step_kind::scale) {
      scale_kernel<to, s.relu, (s.addend >= 0)>::template run<V>(w, x, addend, y);
    } else if constexpr (s.kind == step_kind::sample_norm) {
      call<sample_norm_kernel<norm<Index>, to>>(w, x, y);
    } else if constexpr (s.kind == step_kind::recurrent) {
      float* const carried = m.carried == nullptr ? nullptr : m.carried + s.carried;
      call<recurrent_kernel<recurrence<Index>>>(w, x, y, at<s.scratch, Samples>(m, i), carried);
    } else if constexpr (s.kind == step_kind::softmax) {
      softmax_kernel<from, to, layer_forms<Model>[static_cast<std::size_t>(s.leaf)].logarithm>::template run<V>(x, y);
    } else if constexpr (s.kind == step_kind::map) {
      using layer = typename layer_inside<typename Model::template leaf<static_cast<std::size_t>(s.leaf)>>::type;
      constexpr auto function = function_of(static_cast<const layer*>(nullptr));
      call<map_kernel<to.size, decltype(function)>>(function, x, y);
    } else if constexpr (s.kind == step_kind::relu) {
      rectify_elements<V, to.size>(x, y);
    } else if constexpr (s.kind == step_kind::sum) {
      add_elements<V, to.size, s.relu>(x, at<p.operand(s, 1), Samples>(m, i), y);
    } else if constexpr (s.kind == step_kind::concat) {
      concatenate<Index, Samples>(m, i, std::make_index_sequence<static_cast<std::size_t>(s.operands)>{});
    } else {
      copy_kernel<from, to>::run(x, y);
    }
  }

  template <int Index, int Samples, std::size_t... K>
  static LOCKSTEP_ALWAYS_INLINE void concatenate(const memory& m, int i, std::index_sequence<K...>) {
    constexpr const step& s = p.at(Index);
    float* const y = at<s.out, Samples>(m, i);
    (channel_copy_kernel<p.layout(p.operand(s, K)), p.out(s), channels_before<Index, K>>::run(
         at<p.operand(s, K), Samples>(m, i), y),
     ...);
    clear_gaps<p.out(s)>(y);
  }
  template <int Index, int K>
  static constexpr std::int64_t channels_before = [] {
    std::int64_t sum = 0;
    for (int k = 0; k < K; ++k) sum += p.layout(p.operand(p.at(Index), k)).channels;
    return sum;
  }();

  // Compilers limit the operands of a fold expression.
  static constexpr std::size_t step_count = static_cast<std::size_t>(p.step_count);
  template <int Samples, std::size_t First, std::size_t... Index>
  static LOCKSTEP_ALWAYS_INLINE void run_block(const memory& m, std::index_sequence<Index...>) {
    (run_step<static_cast<int>(First + Index), Samples>(m), ...);
  }
  template <int Samples, std::size_t... Block>
  static LOCKSTEP_ALWAYS_INLINE void run_blocks(const memory& m, std::index_sequence<Block...>) {
    (run_block<Samples, Block * static_for_block>(
         m, std::make_index_sequence<(std::min)(static_for_block, step_count - Block * static_for_block)>{}),
     ...);
  }
  using blocks = std::make_index_sequence<(step_count + static_for_block - 1) / static_for_block>;

 public:
  /// Floats of working memory.
  static constexpr std::int64_t workspace = p.arena_size;
  static constexpr std::int64_t packed = p.packed_size;
  static constexpr std::int64_t carried_size = p.carried_size;
  static constexpr bool reads_back = p.reads_back;

  /// `run<V>` predicts `samples` samples, `Group` at once while there are as many; one after the other where states are
  /// carried from each to the next.
  template <int Group>
  struct in_groups {
    template <class>
    static LOCKSTEP_ALWAYS_INLINE void run(const float* weights, const float* x, float* y, float* arena,
                                           std::int64_t samples, float* carried) {
      if constexpr (Group > 1)
        for (; samples >= Group && carried == nullptr; samples -= Group, x += Group * in_size, y += Group * out_size)
          run_blocks<Group>({weights, x, y, arena, nullptr}, blocks{});
      for (; samples > 0; --samples, x += in_size, y += out_size)
        run_blocks<1>({weights, x, y, arena, carried}, blocks{});
    }
  };
};

}  // namespace lockstep::detail::infer
