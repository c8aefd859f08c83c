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

template <std::int64_t Heads, class... Dropout>
using attention = ls::sequential<ls::named<"ln_1", norm>,
                                 ls::named<"attn", ls::causal_self_attention<Heads, Dropout...>>, Dropout...>;

template <std::int64_t Width>
using mlp = ls::sequential<ls::named<"c_fc", ls::transposed_linear<Width, 4 * Width>>,
                           ls::named<"act", ls::gelu<ls::approximate_tanh>>,
                           ls::named<"c_proj", ls::transposed_linear<4 * Width, Width>>>;

/// Rows (T, Width) to rows of the same extents. The residuals add nothing to the paths of their layers. Dropout may be
/// lockstep::dropout<P>, which drops shares of the attention and of what each half adds.
template <std::int64_t Width, std::int64_t Heads, class... Dropout>
using block = ls::sequential<
    ls::named<"", ls::residual<attention<Heads, Dropout...>>>,
    ls::named<"", ls::residual<ls::sequential<ls::named<"ln_2", norm>, ls::named<"mlp", mlp<Width>>, Dropout...>>>>;

}  // namespace models::gpt_block
