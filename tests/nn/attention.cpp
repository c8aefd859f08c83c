// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/batch_norm.hpp>
#include <lockstep/nn/causal_self_attention.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/cross_attention.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/multi_head_attention.hpp>
#include <lockstep/nn/packed_attention.hpp>
#include <lockstep/nn/tied.hpp>
#include <lockstep/nn/transformer_encoder_layer.hpp>
#include <lockstep/nn/transposed_linear.hpp>

#include "nn/support.hpp"

namespace attention_layers {

using namespace lockstep_test;

static_assert(ls::layer<ls::packed_attention<2>>);
static_assert(ls::packed_attention<2>::output(ls::dims{5, 12}) == ls::dims{5, 4});
static_assert(ls::packed_attention<2>::parameters(ls::dims{5, 12}).count == 0);
static_assert(ls::packed_attention<2>::flops(ls::dims{5, 12}) == 400);
static_assert(ls::packed_attention<2, ls::causal>::flops(ls::dims{5, 12}) == 240);
static_assert(ls::transposed_linear<7>::output(ls::dims{5, 4}) == ls::dims{5, 7});
static_assert(ls::transposed_linear<4, 7>::parameters(ls::dims{5, 4}).items[0].shape == ls::dims{4, 7});
static_assert(ls::transposed_linear<7>::parameters(ls::dims{4}).items[1].shape == ls::dims{7});

// First values as PyTorch's and transformers': sqrt(6 / (C + 3C)), 1 / sqrt(C), deviation 0.02, and biases of 0.
constexpr bool starts(const ls::parameter_list& list, double bound) {
  const double error = list.items[0].bound - bound;
  return error < 1e-12 && error > -1e-12 && list.items[1].bound == 0 && list.items[1].value == 0;
}
static_assert(
    starts(ls::detail::attention_in_projection<2, ls::detail::attention_options{}>::parameters(ls::dims{5, 6}), 0.5));
static_assert(starts(ls::detail::projection<ls::detail::projection_form{}>::parameters(ls::dims{5, 16}), 0.25));
static_assert(starts(ls::transposed_linear<6>::parameters(ls::dims{5, 6}), 0.034641016151377546));

/// Rows of four features, and a linear layer before, through which the gradient of what arrives is seen.
template <class... Layers>
using on_rows = regression<ls::input<5, 3>, ls::linear<4>, Layers...>;

using bare = regression<ls::input<5, 3>, ls::linear<12>, ls::packed_attention<2>>;
using bare_causal = regression<ls::input<5, 3>, ls::linear<12>, ls::packed_attention<4, ls::causal>>;
using dropping = on_rows<ls::multi_head_attention<2, ls::dropout<0.25>>>;
using without_bias = on_rows<ls::multi_head_attention<1, ls::causal, ls::no_bias>>;
using of_gpt2 = on_rows<ls::causal_self_attention<2>, ls::transposed_linear<6>, ls::relu, ls::transposed_linear<2>>;
using after_norms = on_rows<ls::transformer_encoder_layer<4, 2, 7, ls::dropout<0.25>>>;
using before_norms = on_rows<ls::transformer_encoder_layer<4, 2, 7, ls::norm_first, ls::gelu<>, ls::causal>>;

// Other micro-shards run between a forward pass and its backward.
using segments = regression<ls::input<5, 3>, ls::linear<12>, ls::packed_attention<2>, ls::flatten, ls::linear<6>,
                            ls::batch_norm1d<ls::epsilon<0.25>>, ls::linear<2>>;
// A memory of twice as many rows, made of those that arrive.
using memory = ls::named<"memory", ls::concat<ls::identity, ls::linear<4>>>;
using across = on_rows<ls::cross_attention<4, 2, 5, memory, ls::dropout<0.25>>>;
using across_without_bias = on_rows<ls::cross_attention<4, 1, 5, memory, ls::no_bias>, ls::flatten, ls::linear<2>>;
using shared = ls::tied<"attn", ls::multi_head_attention<2>>;
using in_two_places = on_rows<shared, ls::relu, shared>;

}  // namespace attention_layers

TEST_CASE("gradients of attention", "[attention]") {
  using namespace attention_layers;
  SECTION("packed") { check_gradients<bare>(); }
  SECTION("causal") { check_gradients<bare_causal>({}, {.samples = 1}); }
  SECTION("several heads, dropout") { check_gradients<dropping>(); }
  SECTION("without bias") { check_gradients<without_bias>(); }
  SECTION("as in GPT-2") { check_gradients<of_gpt2>(); }
  SECTION("across") { check_gradients<across>(); }
  SECTION("across, without bias") { check_gradients<across_without_bias>(); }
  SECTION("shared") { check_gradients<in_two_places>(); }
  SECTION("before a normalised batch") { check_gradients<segments>({}, {.samples = 5}); }
}

TEST_CASE("gradients of a transformer's layers", "[attention]") {
  using namespace attention_layers;
  SECTION("normalised after") { check_gradients<after_norms>(); }
  SECTION("normalised before") { check_gradients<before_norms>(); }
}
