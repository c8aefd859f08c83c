// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/nn/batch_norm.hpp>

#include "model/networks.hpp"
#include "model/plan_support.hpp"
#include "nn/support.hpp"

/// \file
/// Sums that become part of the batch normalisation before them: against central differences, and bit for bit against
/// backends that have no such primitive.

using namespace lockstep_test;

namespace {

// Enough samples for a variance, and for several micro-shards.
constexpr settings several{.samples = 5, .draws = 2};

using norm = ls::batch_norm2d<>;
template <int Channels>
using normalised = ls::sequential<ls::conv2d<Channels, 1>, norm>;
using last = ls::sequential<ls::flatten, ls::linear<2>>;
using picture = ls::input<2, 2, 2>;

// An identity, a branch that is normalised itself, and what the user gave.
template <int Channels>
using blocks =
    regression<picture, ls::sum<normalised<2>, ls::identity>, ls::conv2d<Channels, 1>, norm, ls::relu,
               ls::residual<normalised<Channels>>, ls::relu, ls::residual<normalised<3>, normalised<3>>, last>;
// Shallower: central differences grow inaccurate after several normalisations.
using two_blocks = regression<picture, ls::sum<normalised<2>, ls::identity>, ls::relu,
                              ls::residual<normalised<3>, normalised<3>>, last>;
using rows = regression<ls::input<3>, ls::linear<4>, ls::residual<ls::sequential<ls::linear<4>, ls::batch_norm1d<>>>,
                        ls::residual<ls::sequential<ls::batch_norm1d<ls::no_affine>>>>;
// The value that is added has further readers, whose gradients come before the sum's, and after it.
using gradients_meet = regression<picture, ls::conv2d<3, 1>,
                                  ls::sum<ls::residual<normalised<3>>, ls::sequential<ls::relu, ls::conv2d<3, 1>>>,
                                  ls::relu, ls::sum<normalised<3>, ls::identity, normalised<3>>, last>;
using partly_frozen = regression<picture, ls::frozen<ls::conv2d<3, 1>>, ls::residual<normalised<3>>,
                                 ls::residual<ls::frozen<normalised<3>>>, last>;
// Nothing is fused where somebody else reads the normalised value, or where it is added to itself.
using read_twice = regression<picture, norm, ls::residual<ls::sequential<ls::relu, ls::conv2d<2, 1>>>, last>;
using added_to_itself = regression<picture, norm, ls::sum<ls::identity, ls::identity>, last>;

/// Passes of two samples; `Fuses` says whether sums become part of normalisations.
template <class B, bool Fuses>
struct passes : B {
  static constexpr std::int64_t largest_pass = 2;
};
template <class B>
struct passes<B, false> : B {
  static constexpr std::int64_t largest_pass = 2;
  static void normalise_and_add() = delete;
};
static_assert(ls::adds_to_normalised<passes<ls::cpu, true>> && !ls::adds_to_normalised<passes<ls::cpu, false>>);

template <class Model, class B>
std::vector<doubles> results() {
  const doubles parameters = uniform(Model::parameter_count, 31);
  const doubles x = uniform(several.samples * Model::input_dims.size(), 32);
  runner<Model, B> run({}, x, make_targets<Model>(several), several);
  doubles gradients = filled(Model::parameter_count, 0);  // nobody writes those of frozen layers
  const double loss = run.train(parameters, gradients, false);
  return {{loss}, gradients, run.forward(parameters)};
}

/// The number of sums that are nodes of their own, and of those that are part of a normalisation.
template <class Model, class B>
std::pair<int, int> sums() {
  std::pair<int, int> found;
  for (const std::string& node : nodes<Model, B>()) {
    found.first += node.starts_with("sum") ? 1 : 0;
    found.second += node.find("+sum") != std::string::npos ? 1 : 0;
  }
  return found;
}

template <class Model, class B>
void check_bits(int own, int fused) {
  CAPTURE(B::name);
  CHECK(sums<Model, passes<B, true>>() == std::pair(own, fused));
  CHECK(sums<Model, passes<B, false>>() == std::pair(own + fused, 0));
  CHECK(results<Model, passes<B, true>>() == results<Model, passes<B, false>>());
}

}  // namespace

TEST_CASE("gradients of a sum that is part of a batch normalisation", "[batch_norm][residual]") {
  SECTION("residuals") { check_gradients<two_blocks>({}, several); }
  SECTION("rows") { check_gradients<rows>({}, several); }
  SECTION("gradients that meet") { check_gradients<gradients_meet>({}, several); }
}

TEST_CASE("a sum that is part of a batch normalisation has the bits of one that is not", "[batch_norm][residual]") {
  // Wide vectors, narrow ones, and none.
  SECTION("sixteen channels") { check_bits<blocks<16>, ls::cpu>(0, 3); }
  SECTION("eight channels") { check_bits<blocks<8>, ls::cpu>(0, 3); }
  SECTION("five channels") { check_bits<blocks<5>, ls::cpu>(0, 3); }
  SECTION("by the definition") { check_bits<blocks<3>, ls::reference<double>>(0, 3); }
  SECTION("rows") { check_bits<rows, ls::cpu>(0, 2); }
  SECTION("gradients that meet") { check_bits<gradients_meet, ls::cpu>(1, 3); }
  SECTION("frozen parts") { check_bits<partly_frozen, ls::cpu>(0, 2); }
}

TEST_CASE("a normalised value that others read stays one", "[batch_norm][residual]") {
  CHECK(sums<read_twice, ls::cpu>() == std::pair(1, 0));
  CHECK(sums<added_to_itself, ls::cpu>() == std::pair(1, 0));
}

TEST_CASE("a fused sum takes the memory of what it adds where nobody else reads that", "[batch_norm][residual]") {
  constexpr const auto& plan = blocks<3>::plan<ls::cpu>;
  const auto fused = std::find_if(plan.nodes.rbegin(), plan.nodes.rend(), [](const auto& n) { return n.adds_value(); });
  REQUIRE(fused != plan.nodes.rend());
  CHECK(fused->output_buffer == plan.node(plan.operand(*fused, 1).from).output_buffer);
  CHECK(fused->output_buffer != plan.node(plan.operand(*fused, 0).from).output_buffer);
  CHECK(plan.arena_size + plan.kept_size <=
        blocks<3>::plan<passes<ls::cpu, false>>.arena_size + blocks<3>::plan<passes<ls::cpu, false>>.kept_size);
}
