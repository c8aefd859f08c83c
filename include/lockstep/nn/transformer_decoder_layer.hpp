// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/nn/attention_options.hpp>
#include <lockstep/nn/cross_attention.hpp>
#include <lockstep/nn/residual.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/nn/transformer_encoder_layer.hpp>

namespace lockstep {

namespace detail {

/// The same options for attention to a memory, of which nothing is later.
[[nodiscard]] constexpr attention_options across(attention_options options) {
  options.is_causal = false;
  return options;
}

template <std::int64_t Width, std::int64_t Heads, std::int64_t FeedForward, std::int64_t Queries, class Memory,
          transformer_options Options>
struct transformer_decoder_parts : transformer_parts<Width, Heads, FeedForward, Options> {
  using parts = transformer_parts<Width, Heads, FeedForward, Options>;
  using norm = typename parts::norm;
  using cross = typename cross_attention_of<Width, Heads, Queries, Memory, across(Options.attention)>::type;
  using memory_attention = sequential<named<"multihead_attn", cross>, named<"dropout2", typename parts::dropped>>;
  template <class Body>
  using added = named<"", residual<Body>>;

  using after = sequential<added<typename parts::self_attention>, named<"norm1", norm>, added<memory_attention>,
                           named<"norm2", norm>, added<typename parts::feed_forward>, named<"norm3", norm>>;
  using before = sequential<added<sequential<named<"norm1", norm>, named<"", typename parts::self_attention>>>,
                            added<sequential<named<"norm2", norm>, named<"", memory_attention>>>,
                            added<sequential<named<"norm3", norm>, named<"", typename parts::feed_forward>>>>;
  using type = std::conditional_t<Options.normalises_first, before, after>;
};

}  // namespace detail

/// Attention of rows (Queries, Width) among themselves, to the rows of a memory, and two linear layers, each with a
/// residual and a normalisation, as torch.nn.TransformerDecoderLayer(Width, Heads, FeedForward, dropout=0,
/// batch_first=True), with the names of its parameters: those of transformer_encoder_layer, `multihead_attn` and
/// `norm3`. `Memory` is a branch as cross_attention takes it. Options are those of transformer_encoder_layer; `causal`
/// is for the rows among themselves.
template <std::int64_t Width, std::int64_t Heads, std::int64_t FeedForward, std::int64_t Queries, class Memory,
          class... Options>
using transformer_decoder_layer =
    typename detail::transformer_decoder_parts<Width, Heads, FeedForward, Queries, Memory,
                                               detail::transformer_options::of<Options...>()>::type;

}  // namespace lockstep
