// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/lockstep.hpp>

/// \file
/// A small transformer from one sequence to another, as in Vaswani et al., "Attention is all you need" (2017), with the
/// names of a PyTorch module that has two embeddings, torch.nn.Transformer(batch_first=True) and a linear layer.

namespace models {

namespace seq2seq {

namespace ls = lockstep;

inline constexpr std::int64_t width = 32;
inline constexpr std::int64_t heads = 4;
inline constexpr std::int64_t feed_forward = 64;
inline constexpr int layers = 2;

using encoder_layers =
    ls::sequential<ls::named<"layers", ls::repeat<layers, ls::transformer_encoder_layer<width, heads, feed_forward>>>,
                   ls::named<"norm", ls::layer_norm<>>>;
template <std::int64_t Rows>
using decoder_layer = ls::transformer_decoder_layer<width, heads, feed_forward, Rows, ls::from<"memory">, ls::causal>;
template <std::int64_t Rows>
using decoder_layers =
    ls::sequential<ls::named<"layers", ls::repeat<layers, decoder_layer<Rows>>>, ls::named<"norm", ls::layer_norm<>>>;

template <std::int64_t Vocabulary>
using encoder =
    ls::from<"source", ls::sequential<ls::named<"source", ls::embedding<Vocabulary, width>>, ls::sinusoidal_positions,
                                      ls::named<"transformer.encoder", encoder_layers>>>;
template <std::int64_t Vocabulary, std::int64_t Rows>
using decoder =
    ls::from<"target", ls::sequential<ls::named<"target", ls::embedding<Vocabulary, width>>, ls::sinusoidal_positions,
                                      ls::named<"transformer.decoder", decoder_layers<Rows>>>>;

}  // namespace seq2seq

/// Reads the inputs `source`, tokens, and `target`, Rows tokens that have been written so far; computes the logits
/// (Rows, TargetVocabulary) of the token that comes after each.
template <std::int64_t SourceVocabulary, std::int64_t TargetVocabulary, std::int64_t Rows>
using seq2seq_small = lockstep::sequential<
    lockstep::named<"", lockstep::bind<"memory", lockstep::named<"", seq2seq::encoder<SourceVocabulary>>,
                                       lockstep::named<"", seq2seq::decoder<TargetVocabulary, Rows>>>>,
    lockstep::named<"head", lockstep::linear<TargetVocabulary>>>;

}  // namespace models
