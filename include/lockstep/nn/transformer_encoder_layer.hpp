// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/activation/gelu.hpp>
#include <lockstep/nn/attention_options.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/identity.hpp>
#include <lockstep/nn/layer_norm.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/multi_head_attention.hpp>
#include <lockstep/nn/norm_options.hpp>
#include <lockstep/nn/real.hpp>
#include <lockstep/nn/residual.hpp>
#include <lockstep/nn/sequential.hpp>

namespace lockstep {

/// Normalises what goes into a branch, not what comes out of the sum.
struct norm_first {};

namespace detail {

struct transformer_options {
  attention_options attention{};
  bool normalises_first = false;
  bool by_gelu = false;
  bool known = true;
  real epsilon_value = 1e-5;

  constexpr void take(norm_first) { normalises_first = true; }
  constexpr void take(relu) { by_gelu = false; }
  constexpr void take(gelu<>) { by_gelu = true; }
  constexpr void take(causal) { attention.take(causal{}); }
  constexpr void take(no_bias) { attention.take(no_bias{}); }
  template <fixed_string Input>
  constexpr void take(key_lengths<Input> lengths) {
    attention.take(lengths);
  }
  template <probability P>
  constexpr void take(dropout<P>) {
    attention.dropped = P;
  }
  template <real E>
  constexpr void take(epsilon<E>) {
    epsilon_value = E;
  }
  template <class Other>
  constexpr void take(Other) {
    known = false;
  }

  template <class... Options>
  static consteval transformer_options of() {
    transformer_options all;
    (all.take(Options{}), ...);
    return all;
  }
};

/// The parts of a layer of a transformer. What is named "" adds nothing to the paths of its layers.
template <std::int64_t Width, std::int64_t Heads, std::int64_t FeedForward, transformer_options Options,
          class Lengths = void>
struct transformer_parts {
  static_assert(Options.known,
                "lockstep: transformer_encoder_layer, transformer_decoder_layer: take norm_first, relu or gelu<>, "
                "dropout<>, causal, no_bias, epsilon<> and key_lengths<>");
  static_assert(
      Width > 0 && FeedForward > 0 && Heads > 0 && Width % Heads == 0,
      "lockstep: transformer_encoder_layer, transformer_decoder_layer: the width, the heads and the features of "
      "the feed-forward are positive, and the number of heads divides the width");

  static constexpr bool has_bias = Options.attention.bias;
  using norm = std::conditional_t<has_bias, layer_norm<epsilon<Options.epsilon_value>>,
                                  layer_norm<epsilon<Options.epsilon_value>, no_bias>>;
  using activation = std::conditional_t<Options.by_gelu, gelu<>, relu>;
  using dropped =
      std::conditional_t<(Options.attention.dropped.parts > 0), dropout<Options.attention.dropped>, identity>;

  using self_attention =
      sequential<named<"self_attn", typename multi_head_attention_of<Heads, Options.attention, Lengths>::type>,
                 named<"dropout1", dropped>>;
  using feed_forward =
      sequential<named<"linear1", basic_linear<Width, FeedForward, has_bias>>, named<"activation", activation>,
                 named<"dropout", dropped>, named<"linear2", basic_linear<FeedForward, Width, has_bias>>,
                 named<"dropout2", dropped>>;

  using after = sequential<named<"", residual<self_attention>>, named<"norm1", norm>, named<"", residual<feed_forward>>,
                           named<"norm2", norm>>;
  using before = sequential<named<"", residual<sequential<named<"norm1", norm>, named<"", self_attention>>>>,
                            named<"", residual<sequential<named<"norm2", norm>, named<"", feed_forward>>>>>;
  using type = std::conditional_t<Options.normalises_first, before, after>;
};

}  // namespace detail

/// Attention of rows (T, Width) among themselves, and two linear layers, each with a residual and a normalisation, as
/// torch.nn.TransformerEncoderLayer(Width, Heads, FeedForward, dropout=0, batch_first=True), with the names of its
/// parameters: `self_attn.in_proj_weight`, `self_attn.out_proj.weight`, `linear1.weight`, `linear2.weight`,
/// `norm1.weight`, `norm2.weight`, and biases. Options: norm_first; gelu<> in place of relu; dropout<>, which acts as
/// PyTorch's `dropout` at four places; causal; no_bias; epsilon<> of the normalisations.
template <std::int64_t Width, std::int64_t Heads, std::int64_t FeedForward, class... Options>
using transformer_encoder_layer =
    typename detail::transformer_parts<Width, Heads, FeedForward, detail::transformer_options::of<Options...>(),
                                       typename detail::lengths_among<Options...>::type>::type;

}  // namespace lockstep
