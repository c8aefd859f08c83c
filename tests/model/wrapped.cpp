// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `named`, `frozen` and `skippable` around a layer mean the same in any order.

#include <type_traits>

#include <lockstep/lockstep.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

template <class Layer>
using with = ls::model<ls::sequential<Layer, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;

template <class Given, class Expected>
constexpr bool same =
    std::is_same_v<typename Given::leaf_list, typename Expected::leaf_list> &&
    Given::trainable_count == Expected::trainable_count && Given::skippable_leaves == Expected::skippable_leaves;

using layer = ls::linear<4>;
using plain = with<ls::named<"a", ls::skippable<layer>>>;
using icy = with<ls::named<"a", ls::skippable<ls::frozen<layer>>>>;

static_assert(same<with<ls::skippable<ls::named<"a", layer>>>, plain>);
static_assert(same<with<ls::skippable<ls::skippable<ls::named<"a", layer>>>>, plain>);
static_assert(same<with<ls::skippable<ls::frozen<ls::named<"a", layer>>>>, icy>);
static_assert(same<with<ls::skippable<ls::named<"a", ls::frozen<layer>>>>, icy>);
static_assert(same<with<ls::frozen<ls::skippable<ls::named<"a", layer>>>>, icy>);
static_assert(same<with<ls::named<"a", ls::frozen<ls::skippable<layer>>>>, icy>);
static_assert(same<with<ls::named<"a", ls::skippable<ls::skippable<layer>>>>, plain>);
static_assert(icy::parameter_count == plain::parameter_count && icy::trainable_count == 3 * 4 + 3);

// The same around a composite.
using block = ls::residual<layer>;
template <class Given>
constexpr bool one_block = Given::skippable_parts.size() == 1 && Given::skippable_paths[0].view() == "a" &&
                           std::is_same_v<typename Given::leaf_list, typename with<ls::named<"a", block>>::leaf_list>;
static_assert(one_block<with<ls::named<"a", ls::skippable<block>>>>);
static_assert(one_block<with<ls::skippable<ls::named<"a", block>>>>);
static_assert(one_block<with<ls::skippable<ls::skippable<ls::named<"a", block>>>>>);
static_assert(one_block<with<ls::skippable<ls::frozen<ls::named<"a", ls::skippable<block>>>>>>);
static_assert(with<ls::skippable<ls::frozen<ls::named<"a", block>>>>::trainable_count == 3 * 4 + 3);

/// A layer with two parameters whose names clash only with those of another path.
using nested = ls::sequential<ls::named<"a", ls::sequential<layer, layer>>, ls::named<"b", ls::sequential<layer>>,
                              ls::named<"a.2", ls::linear<3>>, ls::relu>;
static_assert(ls::model<nested, ls::input<4>, ls::cross_entropy>::leaf_count == 5);

}  // namespace

TEST_CASE("a layer in wrappers of any order is skipped by its name", "[skip]") {
  ls::data_parallel<with<ls::skippable<ls::frozen<ls::named<"a", layer>>>>, 1> trainer;
  CHECK(trainer.parameters().at("a.weight").values().size() == 16);
  CHECK_NOTHROW(trainer.skip("a"));
  CHECK_THROWS_AS(trainer.skip("1"), ls::value_error);
}
