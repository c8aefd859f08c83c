// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/lockstep.hpp>

/// \file
/// The block of GPT-2, as in Radford et al., "Language models are unsupervised multitask learners" (2019), under the
/// names of transformers.

namespace models::gpt_block {

namespace ls = lockstep;

using norm = ls::layer_norm<ls::epsilon<1e-5>>;

template <std::int64_t Heads>
using attention = ls::sequential<ls::named<"ln_1", norm>, ls::named<"attn", ls::causal_self_attention<Heads>>>;

template <std::int64_t Width>
using mlp = ls::sequential<ls::named<"c_fc", ls::transposed_linear<Width, 4 * Width>>,
                           ls::named<"act", ls::gelu<ls::approximate_tanh>>,
                           ls::named<"c_proj", ls::transposed_linear<4 * Width, Width>>>;

/// Rows (T, Width) to rows of the same extents. The residuals add nothing to the paths of their layers.
template <std::int64_t Width, std::int64_t Heads>
using block =
    ls::sequential<ls::named<"", ls::residual<attention<Heads>>>,
                   ls::named<"", ls::residual<ls::sequential<ls::named<"ln_2", norm>, ls::named<"mlp", mlp<Width>>>>>>;

}  // namespace models::gpt_block
