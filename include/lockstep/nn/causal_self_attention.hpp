// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/nn/attention_options.hpp>
#include <lockstep/nn/packed_attention.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/nn/transposed_linear.hpp>

namespace lockstep {

namespace detail {

template <std::int64_t Times>
using gpt2_projection_times = projection<[] {
  projection_form f = gpt2_projection;
  f.times = Times;
  return f;
}()>;

}  // namespace detail

/// Attention of each row of a sample (T, C) to itself and the rows before it, as in GPT-2, with the parameters that
/// transformers saves: `c_attn.weight` (C, 3C), `c_attn.bias` (3C), `c_proj.weight` (C, C), `c_proj.bias` (C).
/// Option: dropout<> for the probabilities while training.
template <std::int64_t Heads, class... Options>
using causal_self_attention = sequential<named<"c_attn", detail::gpt2_projection_times<3>>,
                                         named<"attention", packed_attention<Heads, causal, Options...>>,
                                         named<"c_proj", detail::gpt2_projection_times<1>>>;

}  // namespace lockstep
