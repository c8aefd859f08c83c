// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/nn/recurrent.hpp>

namespace lockstep {

/// A plain recurrence, as torch.nn.RNN: samples (T, C) become (T, Hidden), the states after each step,
/// h = tanh(W_ih x + b_ih + W_hh h + b_hh), beginning with zeros; or, with the option relu, max(0, the same). Other
/// options, parameters and initial values as of lstm, with weights of Hidden rows. Cost: 2 T Hidden (C + Hidden) flops
/// a layer and direction.
template <std::int64_t Hidden, class... Options>
struct rnn : detail::recurrent<detail::recurrent_kind::rnn, Hidden, detail::recurrent_options::of<Options...>()> {};

}  // namespace lockstep
