// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/norm_options.hpp>
#include <lockstep/nn/real.hpp>
#include <lockstep/nn/window.hpp>

/// \file
/// What layer_norm, rms_norm and group_norm have in common.

namespace lockstep::detail {

/// The options of a normalisation by a sample's own statistics.
struct sample_norm_options {
  real epsilon_value = 1e-5;
  bool affine = true;
  bool bias = true;
  bool known = true;
  bool names_bias = false;

  template <real E>
  constexpr void take(epsilon<E>) {
    epsilon_value = E;
  }
  constexpr void take(no_affine) { affine = bias = false; }
  constexpr void take(no_bias) {
    bias = false;
    names_bias = true;
  }
  template <class Other>
  constexpr void take(Other) {
    known = false;
  }

  /// `all` with these options.
  template <class... Options>
  static consteval sample_norm_options of(sample_norm_options all) {
    (all.take(Options{}), ...);
    return all;
  }
};

/// One traits for them all. Backward needs the statistics that forward has found.
inline constexpr layer_traits sample_norm_traits{.remembers_forward = true,
                                                 .fuses_relu = true,
                                                 .backward_in_place = true,
                                                 .backward_overwrites_input = true,
                                                 .backward_keeps_gradient = true};

[[nodiscard]] constexpr parameter_list sample_norm_parameters(const sample_norm_options& options, const dims& shape) {
  parameter_list list;
  if (options.affine) list.add_constant("weight", shape, 1);
  if (options.bias) list.add_constant("bias", shape, 0);
  return list;
}

/// Two passes that measure, and one that normalises.
[[nodiscard]] constexpr std::int64_t sample_norm_flops(const dims& in) { return 8 * in.size(); }

/// The geometry for a layer's options at a place in a network.
[[nodiscard]] constexpr sample_norm_geometry sample_norm_of(const sample_norm_options& options, const node_traits& t,
                                                            const channel_layout& layout) {
  return {.layout = layout,
          .weight = options.affine,
          .bias = options.bias,
          .relu = t.relu,
          .input_gradient = t.input_gradient,
          .parameter_gradient = t.parameter_gradient && options.affine};
}

/// The layout of a layer that normalises over the last extent of (T, C), or over all of a sample: in the order in which
/// its elements lie, each with a weight of its own.
[[nodiscard]] constexpr channel_layout row_layout(const dims& in) {
  return {.channels = in.rank == 2 ? in[1] : in.size()};
}

/// Runs a normalisation that cuts a sample into Parts equal parts of geometry G.
template <class B, node_traits T, sample_norm_geometry G, std::int64_t Parts, real Epsilon>
class sample_norm_op {
  using activation = typename B::activation_type;
  using context = typename B::context;

  struct no_primitive {
    no_primitive(context&, std::int64_t, double) {}
    void set_samples(std::int64_t) noexcept {}
  };
  static consteval auto pick() {
    if constexpr (normalises_samples<B>)
      return std::type_identity<typename B::template sample_norm<G>>{};
    else
      return std::type_identity<no_primitive>{};
  }
  using primitive = typename decltype(pick())::type;

 public:
  sample_norm_op(context& c, std::int64_t samples)
      : samples_(samples), primitive_(c, samples * Parts, Epsilon.value()) {}

  void set_samples(std::int64_t samples) noexcept
    requires takes_fewer_samples<primitive>
  {
    samples_ = samples;
    primitive_.set_samples(samples * Parts);
  }

  void forward(context& c, const pass&, const activation* x, const activation* parameters, activation* y) {
    if constexpr (normalises_samples<B>)
      primitive_.forward(c, x, G.weight ? parameters : nullptr, G.bias ? parameters + bias : nullptr, y);
  }

  void backward(context& c, const pass&, const backward_arguments<B>& a) {
    if constexpr (T.relu && !T.output_gradient_masked) B::relu_backward(c, samples_ * T.out.size(), a.y, a.dy, a.dy);
    constexpr bool weight_gradient = G.weight && G.parameter_gradient;
    constexpr bool bias_gradient = G.bias && G.parameter_gradient;
    if constexpr (normalises_samples<B>)
      primitive_.backward(c, a.x, a.dy, G.weight ? a.parameters : nullptr, a.dx,
                          weight_gradient ? a.gradients : nullptr, bias_gradient ? a.gradients + bias : nullptr,
                          a.accumulate);
  }

  /// Where a weight for each element of a channels-last picture lies.
  [[nodiscard]] static constexpr std::int64_t physical(int, std::int64_t index) {
    if constexpr (T.picture.rank == 3 && G.layout.pixels == 1 && G.groups == 1) {
      constexpr std::int64_t pixels = T.picture.extent[1] * T.picture.extent[2];
      return index % pixels * T.picture.extent[0] + index / pixels;
    } else {
      return index;
    }
  }

 private:
  /// Where the bias begins among the parameters.
  static constexpr std::int64_t bias = G.layout.channels;

  std::int64_t samples_;
  primitive primitive_;
};

/// What layer_norm and rms_norm have in common: they normalise rows, or all of a picture. Centred: around the mean.
template <sample_norm_options Options, bool Centred>
struct row_norm {
  static constexpr sample_norm_options options = Options;
  static constexpr layer_traits traits = [] {
    layer_traits t = sample_norm_traits;
    t.takes_rows = true;
    t.rows = row_rule::apart;
    t.takes_any_order = true;
    return t;
  }();
  template <class B>
  static constexpr bool runs_on = normalises_samples<B>;

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    return sample_norm_parameters(Options, in.rank == 2 ? dims{in[1]} : in);
  }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return sample_norm_flops(in); }

  [[nodiscard]] static constexpr sample_norm_geometry geometry(const node_traits& t) {
    sample_norm_geometry g = sample_norm_of(Options, t, row_layout(t.in));
    g.centred = Centred;
    return g;
  }

  template <class B, node_traits T>
  using op = sample_norm_op<B, T, geometry(T), T.in.rank == 2 ? T.in.extent[0] : 1, Options.epsilon_value>;
};

}  // namespace lockstep::detail
