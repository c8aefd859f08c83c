// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

/// \file
/// A vision transformer, as in Dosovitskiy et al., "An image is worth 16x16 words" (2021), that takes the mean over
/// positions in place of a class token, as in Beyer et al., "Better plain ViT baselines for ImageNet-1k" (2022). The
/// names are those of a PyTorch module that has a Conv2d, an Embedding of positions, TransformerEncoderLayers, a
/// LayerNorm and a Linear; with no dropout unless a lockstep::dropout<P> is given.

namespace models {

template <std::int64_t Width, std::int64_t Heads, class... Dropout>
using vit_layer =
    lockstep::transformer_encoder_layer<Width, Heads, 4 * Width, lockstep::norm_first, lockstep::gelu<>, Dropout...>;

/// Pictures of `Positions` patches, each of Patch x Patch pixels, to the logits of `Classes`.
template <int Patch, std::int64_t Positions, int Layers, std::int64_t Heads, std::int64_t Width, std::int64_t Classes,
          class... Dropout>
using vit =
    lockstep::sequential<lockstep::named<"patches", lockstep::conv2d<Width, Patch, lockstep::stride<Patch>>>,
                         lockstep::named<"rows", lockstep::pixel_rows>,
                         lockstep::named<"positions", lockstep::learned_positions<Positions>>, Dropout...,
                         lockstep::named<"layers", lockstep::repeat<Layers, vit_layer<Width, Heads, Dropout...>>>,
                         lockstep::named<"norm", lockstep::layer_norm<>>, lockstep::named<"mean", lockstep::mean_rows>,
                         lockstep::named<"head", lockstep::linear<Classes>>>;

/// DeiT-tiny's width and heads (Touvron et al., "Training data-efficient image transformers", 2021), for pictures of
/// 3 x 32 x 32: 64 patches of 4 x 4 pixels, and 6 of its 12 layers.
template <std::int64_t Classes, class... Dropout>
using vit_tiny = vit<4, 64, 6, 3, 192, Classes, Dropout...>;

/// Draws the parameters as PyTorch does, but positions from N(0, 0.02^2), as vision transformers do.
template <class Trainer>
void initialize_vit(Trainer& trainer, lockstep::seed s) {
  trainer.initialize(s);
  const auto& positions = trainer.parameters().at("positions.weight");
  auto values = positions.values();
  for (auto& value : values) value *= static_cast<typename Trainer::value_type>(0.02);
  positions.assign(values);
}

}  // namespace models
