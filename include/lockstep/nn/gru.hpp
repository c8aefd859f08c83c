// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/nn/recurrent.hpp>

namespace lockstep {

/// Gated recurrent units, as torch.nn.GRU: samples (T, C) become (T, Hidden), the states after each step,
///   r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h = (1 - z) n + z h;
/// h begins with zeros. Options, parameters and initial values as of lstm, with rows of r, z, n: weights of 3 Hidden
/// rows. Cost: 6 T Hidden (C + Hidden) flops a layer and direction.
template <std::int64_t Hidden, class... Options>
struct gru : detail::recurrent<detail::recurrent_kind::gru, Hidden, detail::recurrent_options::of<Options...>()> {};

}  // namespace lockstep
