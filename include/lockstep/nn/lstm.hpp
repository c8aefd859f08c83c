// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/nn/recurrent.hpp>

namespace lockstep {

/// Long short-term memory, as torch.nn.LSTM: samples (T, C) become (T, Hidden), the states after each step,
///   i, f, o = sigmoid(W_ih x + b_ih + W_hh h + b_hh), g = tanh(likewise); c = f c + i g; h = o tanh(c);
/// h and c begin with zeros. Options: layers<N>, bidirectional (then (T, 2 Hidden)), dropout<P> of what each layer but
/// the last hands on, last_state (then (Hidden), or (2 Hidden)), carry_state, no_bias.
/// Parameters of layer k: `weight_ih_lk` (4 Hidden, C), `weight_hh_lk` (4 Hidden, Hidden), `bias_ih_lk`, `bias_hh_lk`
/// (4 Hidden), rows of i, f, g, o; those of the other direction end in `_reverse`. All begin with U(-b, b), b = 1 /
/// sqrt(Hidden). Cost: 8 T Hidden (C + Hidden) flops a layer and direction.
template <std::int64_t Hidden, class... Options>
struct lstm : detail::recurrent<detail::recurrent_kind::lstm, Hidden, detail::recurrent_options::of<Options...>()> {};

}  // namespace lockstep
