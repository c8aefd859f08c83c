// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/lockstep.hpp>

namespace models {

/// T bytes to (T, 256) logits of the byte that comes after each: two layers of LSTM between an embedding and a linear
/// layer, as the character models of Karpathy, "The unreasonable effectiveness of recurrent neural networks" (2015).
/// Parameters are `embedding.weight`, `lstm.weight_ih_l0`, ..., `lstm.bias_hh_l1`, `head.weight`, `head.bias`, as in
/// PyTorch's module of these three.
using char_lstm = lockstep::sequential<lockstep::named<"embedding", lockstep::embedding<256, 64>>,
                                       lockstep::named<"lstm", lockstep::lstm<256, lockstep::layers<2>>>,
                                       lockstep::named<"head", lockstep::linear<256, 256>>>;

/// On samples of T bytes.
template <std::int64_t T = 128>
using char_lstm_model = lockstep::model<char_lstm, lockstep::tokens<T>, lockstep::cross_entropy>;

}  // namespace models
