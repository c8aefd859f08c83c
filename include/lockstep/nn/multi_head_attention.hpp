// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/nn/attention_options.hpp>
#include <lockstep/nn/feed.hpp>
#include <lockstep/nn/identity.hpp>
#include <lockstep/nn/packed_attention.hpp>
#include <lockstep/nn/projection.hpp>
#include <lockstep/nn/sequential.hpp>

namespace lockstep {

namespace detail {

/// Makes a query, a key and a value of each row. Its parameters have the path of the whole.
template <std::int64_t Heads, attention_options Options>
struct attention_in_projection
    : projection<projection_form{
          .times = 3, .bias = Options.bias, .in_proj = true, .weights = projection_form::start::xavier_uniform}> {
  template <dims Arriving>
  static consteval void check() {
    static_assert(Options.known, "lockstep: multi_head_attention: takes causal, dropout<>, no_bias and key_lengths<>");
    static_assert(Options.dropped.valid(),
                  "lockstep: multi_head_attention: the probability of dropout lies between 0 and 1");
    static_assert(cuts_into_heads(Arriving, 1, Heads),
                  "lockstep: multi_head_attention: the sample that arrives (Arriving) is not T rows (T, C) of features "
                  "whose number C the number of heads divides");
  }
};

/// Lengths reads the lengths of samples, or is void.
template <std::int64_t Heads, attention_options Options, class Lengths = void>
struct multi_head_attention_of {
  template <class Of>
  struct core {
    using type = feed<attention_with_lengths<Heads, Options>, identity, Of>;
  };
  template <class Of>
    requires std::is_void_v<Of>
  struct core<Of> {
    using type = basic_packed_attention<Heads, Options>;
  };
  using type =
      sequential<named<"", attention_in_projection<Heads, Options>>, named<"attention", typename core<Lengths>::type>,
                 named<"out_proj", projection<projection_form{.bias = Options.bias}>>>;
};

}  // namespace detail

/// Attention of the rows of a sample (T, C) among themselves, with C split among `Heads` heads, as
/// torch.nn.MultiheadAttention(C, Heads, batch_first=True) of (x, x, x). Parameters, under its name: `in_proj_weight`
/// (3C, C), `in_proj_bias` (3C), `out_proj.weight` (C, C), `out_proj.bias` (C). Options: causal, dropout<> for the
/// probabilities while training, no_bias.
template <std::int64_t Heads, class... Options>
using multi_head_attention =
    typename detail::multi_head_attention_of<Heads, detail::attention_options::of<Options...>(),
                                             typename detail::lengths_among<Options...>::type>::type;

}  // namespace lockstep
