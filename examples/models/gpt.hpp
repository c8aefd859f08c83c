// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "gpt_block.hpp"

namespace models {

/// GPT-2, as in Radford et al., "Language models are unsupervised multitask learners" (2019): T <= Context tokens to
/// (T, Vocabulary) logits of the token that comes after each. Layers blocks of Width values with so many Heads; the
/// embedding is the weight of the logits too. Dropout may be lockstep::dropout<P>. Names and layouts as transformers
/// saves GPT2LMHeadModel.
template <std::int64_t Layers, std::int64_t Heads, std::int64_t Width, std::int64_t Context, std::int64_t Vocabulary,
          class... Dropout>
using gpt = lockstep::sequential<
    lockstep::tied<"transformer.wte", lockstep::embedding<Vocabulary, Width>>,
    lockstep::named<
        "transformer",
        lockstep::sequential<lockstep::named<"wpe", lockstep::learned_positions<Context>>, Dropout...,
                             lockstep::named<"h", lockstep::repeat<Layers, gpt_block::block<Width, Heads, Dropout...>>>,
                             lockstep::named<"ln_f", gpt_block::norm>>>,
    lockstep::tied<"transformer.wte", lockstep::linear_without_bias<Vocabulary>>>;

/// The smallest GPT-2 that OpenAI published.
using gpt2_124m = gpt<12, 12, 768, 1024, 50'257>;

/// Draws the parameters as GPT-2 does: weights from N(0, 0.02^2), those of projections back into the residual stream
/// divided by sqrt(2 Layers); biases are 0, and normalisations begin as the identity.
template <class Trainer>
void initialize_gpt(Trainer& trainer, lockstep::seed s, std::int64_t layers) {
  trainer.initialize(s);
  std::uint64_t stream = 0;
  for (const auto& parameter : trainer.parameters()) {
    const std::string_view name = parameter.name();
    if (name.find("ln_") != std::string_view::npos) continue;
    std::vector<typename Trainer::value_type> values(static_cast<std::size_t>(parameter.size()));
    if (name.ends_with("weight")) {
      const lockstep::random_stream draws(s, lockstep::random_purpose::initialization, 1'000'000 + stream++);
      const double deviation =
          name.ends_with("c_proj.weight") ? 0.02 / std::sqrt(2.0 * static_cast<double>(layers)) : 0.02;
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<typename Trainer::value_type>(deviation * double{draws.normal(i)});
    }
    parameter.assign(values);
  }
}

}  // namespace models
