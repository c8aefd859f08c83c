// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/core/fixed_string.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/activation/tanh.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/layer_stack.hpp>
#include <lockstep/nn/window.hpp>

/// \file
/// What lstm, gru and rnn have in common. Each is a stack of layers at one path, since its parameters have the names
/// that torch.nn gives them: `weight_ih_l0`, ..., `bias_hh_l1_reverse`.

namespace lockstep {

/// Option of lstm, gru and rnn: N layers, each of which reads the outputs of the one before, as num_layers in PyTorch.
template <int N>
struct layers {};
/// Option of lstm, gru and rnn: each layer also reads the steps from the last to the first, with parameters of its own;
/// outputs are the states of both directions, one after the other.
struct bidirectional {};
/// Option of lstm, gru and rnn: the output is the state after the last step alone, of the last layer; of each direction
/// after the last step that it reads, as PyTorch's h_n.
struct last_state {};
/// Option of lstm, gru and rnn: a training step begins with the states that the one before has left, sample by sample,
/// and no gradient goes back into it: truncated backpropagation through time. The first step, and one after
/// `data_parallel::reset_states()`, begins with zeros, as do evaluation and prediction always.
struct carry_state {};

namespace detail {

/// The options of a recurrent layer.
struct recurrent_options {
  int layers = 1;
  std::int64_t directions = 1;
  bool bias = true;
  bool last_state = false;
  bool carry_state = false;
  probability dropout = 0;
  bool relu = false;
  bool known = true;
  bool names_function = false;

  template <int N>
  constexpr void take(lockstep::layers<N>) {
    layers = N;
  }
  template <probability P>
  constexpr void take(lockstep::dropout<P>) {
    dropout = P;
  }
  constexpr void take(bidirectional) { directions = 2; }
  constexpr void take(lockstep::last_state) { last_state = true; }
  constexpr void take(lockstep::carry_state) { carry_state = true; }
  constexpr void take(no_bias) { bias = false; }
  constexpr void take(lockstep::relu) { relu = names_function = true; }
  constexpr void take(lockstep::tanh) { names_function = true; }
  template <class Other>
  constexpr void take(Other) {
    known = false;
  }

  template <class... Options>
  static consteval recurrent_options of() {
    recurrent_options all;
    (all.take(Options{}), ...);
    return all;
  }
};

/// The name of a parameter: `weight_ih`, the layer, and the direction.
template <fixed_string What, int Layer, bool Reverse>
inline constexpr auto recurrent_name = [] {
  struct text {
    char characters[32]{};
    std::size_t length = 0;

    constexpr void append(std::string_view part) {
      for (const char c : part) characters[length++] = c;
    }
  } name;
  name.append(What.view());
  name.append("_l");
  int unit = 1;
  while (Layer / unit >= 10) unit *= 10;
  for (; unit > 0; unit /= 10) name.characters[name.length++] = static_cast<char>('0' + Layer / unit % 10);
  if (Reverse) name.append("_reverse");
  return name;
}();

/// Kind names the module in what a user reads.
enum class recurrent_kind : std::uint8_t { lstm, gru, rnn };

/// One layer of a recurrent module, in one or both directions: samples (T, C) become (T, D * Hidden), or (D * Hidden).
/// States begin with zeros, unless they are carried.
template <recurrent_kind Kind, std::int64_t Hidden, recurrent_options Options, int Layer>
struct recurrent_layer {
  static constexpr std::string_view kind = Kind == recurrent_kind::lstm  ? "lstm"
                                           : Kind == recurrent_kind::gru ? "gru"
                                                                         : "rnn";
  static constexpr layer_traits traits{.carries_state = Options.carry_state,
                                       .remembers_forward = true,
                                       .rows = Options.directions == 1 ? row_rule::in_order : row_rule::mixed,
                                       .backward_overwrites_input = true,
                                       .backward_keeps_gradient = true,
                                       .skips_parameter_gradient = true};

  template <class B>
  static constexpr bool runs_on = runs_recurrences<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(
        Options.known && (Kind == recurrent_kind::rnn || !Options.names_function),
        "lockstep: lstm, gru, rnn: take layers<>, bidirectional, dropout<>, last_state, carry_state and no_bias; rnn "
        "takes relu too");
    static_assert(!Options.carry_state || Options.directions == 1,
                  "lockstep: lstm, gru, rnn: carry_state goes on where the step before has ended, and the second "
                  "direction of bidirectional begins at the other end; leave one of the two out");
    static_assert(Hidden > 0 && Options.layers > 0,
                  "lockstep: lstm, gru, rnn: the numbers of features and of layers are positive");
    static_assert(Options.dropout.valid(), "lockstep: lstm, gru, rnn: the probability of dropout lies between 0 and 1");
    static_assert(Options.dropout.parts == 0 || Options.layers > 1,
                  "lockstep: lstm, gru, rnn: dropout comes between layers, and there is one; put lockstep::dropout "
                  "after it, or ask for more with layers<>");
    static_assert(
        Arriving.rank == 2,
        "lockstep: lstm, gru, rnn: the sample that arrives (Arriving) is not T steps of C features; the input "
        "of a model of sequences is input<T, C>");
  }

  [[nodiscard]] static constexpr recurrent_geometry geometry(const dims& in) {
    constexpr recurrent_cell plain = Options.relu ? recurrent_cell::relu : recurrent_cell::tanh;
    return {.cell = Kind == recurrent_kind::lstm  ? recurrent_cell::lstm
                    : Kind == recurrent_kind::gru ? recurrent_cell::gru
                                                  : plain,
            .steps = in[0],
            .in = in.rank == 2 ? in[1] : 1,
            .hidden = Hidden > 0 ? Hidden : 1,  // check() reports what is not; avoid further errors
            .directions = Options.directions,
            .bias = Options.bias,
            .last_state = Options.last_state && Layer + 1 == Options.layers};
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    const recurrent_geometry g = geometry(in);
    const std::int64_t features = g.directions * g.hidden;
    return g.last_state ? dims{features} : dims{in[0], features};
  }

  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    parameter_list list;
    add_direction<false>(list, geometry(in));
    if constexpr (Options.directions == 2) add_direction<true>(list, geometry(in));
    return list;
  }

  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) {
    const recurrent_geometry g = geometry(in);
    return 2 * g.directions * g.steps * g.rows() * (g.in + g.hidden);
  }

  /// The state of a sample: of a row that others have come before, and of carry_state.
  [[nodiscard]] static constexpr std::int64_t kept_values(const dims& in, std::int64_t) {
    return geometry(in).state_size();
  }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;

    static consteval auto pick() {
      constexpr recurrent_geometry g = [] {
        recurrent_geometry all = geometry(T.in);
        all.input_gradient = T.input_gradient;
        all.parameter_gradient = T.parameter_gradient;
        return all;
      }();
      if constexpr (runs_recurrences<B>)
        return std::type_identity<typename B::template recurrent<g>>{};
      else
        return std::type_identity<missing_primitive>{};
    }
    using primitive = typename decltype(pick())::type;

   public:
    op(context& c, std::int64_t samples) : primitive_(c, samples) {}

    void set_samples(std::int64_t samples) noexcept
      requires takes_fewer_samples<primitive>
    {
      primitive_.set_samples(samples);
    }
    [[nodiscard]] static constexpr std::int64_t kept_bytes(std::int64_t samples)
      requires keeps_memory<primitive>
    {
      return primitive::kept_bytes(samples);
    }

    void forward(context& c, const pass& p, const activation* x, const activation* parameters, activation* y) {
      const activation* before = nullptr;
      activation* after = nullptr;
      if (const auto* const row = p.row_of<activation>()) before = after = row->kept[p.key.layer];
      if constexpr (Options.carry_state)
        if (const auto* const carried = p.carried_of<activation>()) {
          const std::int64_t first = (carried->first + p.key.first_sample) * geometry(T.in).state_size();
          before = carried->before[p.key.layer] + first;
          after = carried->after[p.key.layer] + first;
        }
      if constexpr (runs_recurrences<B>) primitive_.forward(c, x, parameters, y, before, after);
    }
    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (runs_recurrences<B>)
        primitive_.backward(c, a.x, static_cast<const activation*>(a.dy), a.parameters, a.dx,
                            T.parameter_gradient ? a.gradients : nullptr, a.accumulate);
    }

   private:
    primitive primitive_;
  };

 private:
  template <fixed_string What, bool Reverse>
  static constexpr void add(parameter_list& list, const recurrent_geometry& g, const dims& shape) {
    constexpr const auto& name = recurrent_name<What, Layer, Reverse>;
    list.add(std::string_view(name.characters, name.length), shape, default_bound(g.hidden));
  }

  template <bool Reverse>
  static constexpr void add_direction(parameter_list& list, const recurrent_geometry& g) {
    add<"weight_ih", Reverse>(list, g, dims{g.rows(), g.in});
    add<"weight_hh", Reverse>(list, g, dims{g.rows(), g.hidden});
    if (!g.bias) return;
    add<"bias_ih", Reverse>(list, g, dims{g.rows()});
    add<"bias_hh", Reverse>(list, g, dims{g.rows()});
  }
};

/// The layers of a recurrent module, and dropout between them.
template <recurrent_kind Kind, std::int64_t Hidden, recurrent_options Options>
struct recurrent {
  template <int Layer>
  using one = recurrent_layer<Kind, Hidden, Options, Layer>;

  template <int Layer>
  static auto before(std::true_type) -> layer_stack<dropout<Options.dropout>, one<Layer>>;
  template <int Layer>
  static auto before(std::false_type) -> layer_stack<one<Layer>>;
  template <int... Before>
  static auto all(std::integer_sequence<int, Before...>)
      -> decltype((layer_stack<one<0>>{} + ... +
                   before<Before + 1>(std::bool_constant<Options.dropout.valid() && Options.dropout.parts != 0>{})));

  using stacked_layers =
      decltype(all(std::make_integer_sequence<int, (Options.layers > 1 ? Options.layers - 1 : 0)>{}));
};

}  // namespace detail

}  // namespace lockstep
