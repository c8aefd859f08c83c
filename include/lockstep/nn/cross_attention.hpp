// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/nn/attention_options.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/cross_projection_op.hpp>
#include <lockstep/nn/identity.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/packed_attention.hpp>
#include <lockstep/nn/projection.hpp>
#include <lockstep/nn/sequential.hpp>

namespace lockstep {

namespace detail {

/// Makes queries of the first rows, and keys and values of the others, one after the other in a flat sample. Its
/// parameters have the path of the whole.
template <std::int64_t Heads, std::int64_t Queries, attention_options Options>
struct cross_projection {
  static constexpr std::string_view kind = "linear";
  static constexpr layer_traits traits{.backward_keeps_gradient = true, .skips_parameter_gradient = true};
  static constexpr projection_form form{
      .times = 3, .bias = Options.bias, .in_proj = true, .weights = projection_form::start::xavier_uniform};

  template <dims Arriving>
  static consteval void check() {
    static_assert(Options.known && !Options.is_causal, "lockstep: cross_attention: takes dropout<> and no_bias");
    static_assert(Options.dropped.valid(),
                  "lockstep: cross_attention: the probability of dropout lies between 0 and 1");
    static_assert(
        cuts_into_heads(Arriving, 1, Heads) && Queries > 0 && Arriving[0] > Queries,
        "lockstep: cross_attention: what arrives is not as many rows (T, C) as there are queries, of features "
        "whose number C the number of heads divides (Arriving: those rows, and after them the memory's)");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return dims{(Queries + 2 * (in[0] - Queries)) * in[1]}; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) { return projection<form>::parameters(in); }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return 2 * output(in).size() * in[1]; }

  template <class B, node_traits T>
  using op = cross_projection_op<B, T, Queries, Options.bias>;
};

/// Attends to what cross_projection has written, with Width features in a row.
template <std::int64_t Heads, std::int64_t Queries, std::int64_t Width, attention_options Options>
struct cross_attention_core {
  static constexpr std::string_view kind = "attention";
  static constexpr layer_traits traits = basic_packed_attention<Heads, Options>::traits;
  template <class B>
  static constexpr bool runs_on = attends<B>;

  [[nodiscard]] static constexpr std::int64_t keys(const dims& in) { return (in.size() / Width - Queries) / 2; }
  [[nodiscard]] static constexpr dims output(const dims&) { return dims{Queries, Width}; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return 4 * Queries * keys(in) * Width; }

  [[nodiscard]] static constexpr attention_geometry geometry(const dims& in) {
    const attention_rows memory{.sample = in.size(), .row = 2 * Width};
    return {.queries = Queries,
            .keys = keys(in),
            .heads = Heads,
            .width = Width / Heads,
            .q = {.sample = in.size(), .row = Width},
            .k = memory,
            .v = memory,
            .y = {.sample = Queries * Width, .row = Width},
            .dropout = Options.dropped};
  }

  template <class B, node_traits T>
  using op = attention_op<B, T, geometry(T.in), Queries * Width, (Queries + 1) * Width>;
};

template <std::int64_t Width, std::int64_t Heads, std::int64_t Queries, class Memory, attention_options Options>
struct cross_attention_of {
  static_assert(Width > 0 && Heads > 0 && Width % Heads == 0,
                "lockstep: cross_attention<Width, Heads, Queries, Memory>: the number of heads divides the width");
  using type = sequential<named<"", concat<identity, Memory>>, named<"", cross_projection<Heads, Queries, Options>>,
                          named<"attention", cross_attention_core<Heads, Queries, Width, Options>>,
                          named<"out_proj", projection<projection_form{.bias = Options.bias}>>>;
};

}  // namespace detail

/// Attention of the rows that arrive, (Queries, Width), to those of a memory (M, Width), as
/// torch.nn.MultiheadAttention(Width, Heads, batch_first=True) of (x, memory, memory), with the parameters of
/// multi_head_attention. `Memory` is a branch that makes the memory of what arrives, or reads an input of the model:
/// `from<"memory">`. It has its own name, or is called `1`. Options: dropout<> for the probabilities, no_bias.
template <std::int64_t Width, std::int64_t Heads, std::int64_t Queries, class Memory, class... Options>
using cross_attention = typename detail::cross_attention_of<Width, Heads, Queries, Memory,
                                                            detail::attention_options::of<Options...>()>::type;

}  // namespace lockstep
