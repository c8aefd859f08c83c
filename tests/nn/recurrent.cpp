// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/gru.hpp>
#include <lockstep/nn/lstm.hpp>
#include <lockstep/nn/rnn.hpp>

#include "model/networks.hpp"
#include "nn/support.hpp"

/// \file
/// Recurrent layers in networks: their gradients, their names, and where they may stand.

namespace recurrent_test {

using namespace lockstep_test;

constexpr settings several{.samples = 3};

template <class Recurrent, class... Behind>
using steps = regression<ls::input<4, 3>, ls::linear<5>, ls::named<"rnn", Recurrent>, Behind...>;

using deep = ls::lstm<4, ls::layers<3>, ls::bidirectional>;
using names = ls::model<ls::named<"lstm", deep>, ls::input<5, 3>, ls::mean_squared_error>;
static_assert(names::leaf_count == 3);
static_assert(names::output_dims == ls::dims{5, 8});
// 16 rows of 3, then of 8 inputs, 4 of states and 2 biases, twice.
static_assert(names::parameter_count == 2 * 16 * ((3 + 4 + 2) + 2 * (8 + 4 + 2)));

template <class Recurrent>
using output_of = ls::model<Recurrent, ls::input<7, 2>, ls::mean_squared_error>;
static_assert(output_of<ls::gru<5>>::output_dims == ls::dims{7, 5});
static_assert(output_of<ls::gru<5, ls::last_state>>::output_dims == ls::dims{5});
static_assert(output_of<ls::rnn<5, ls::bidirectional, ls::last_state, ls::layers<2>>>::output_dims == ls::dims{10});
static_assert(output_of<ls::gru<5, ls::layers<2>, ls::dropout<0.25>>>::leaf_count == 3);
static_assert(output_of<ls::gru<5, ls::layers<2>, ls::dropout<0>>>::leaf_count == 2);
static_assert(output_of<ls::gru<5, ls::no_bias>>::parameter_count == 15 * 7);

// Between what learns, so that a gradient goes in; read twice; behind what measures the batch, whose other micro-shards
// come before backward; and one set of parameters at two places.
using doubled = steps<ls::residual<ls::gru<5>>, ls::linear<2>>;
using segmented =
    regression<ls::input<3, 4>, ls::lstm<4>, ls::flatten, ls::batch_norm1d<ls::epsilon<0.25>>, ls::linear<2>>;
using shared = ls::tied<"shared", ls::lstm<5, ls::layers<2>>>;
using tied_steps = regression<ls::input<3, 5>, ls::linear<5>, shared, shared, ls::linear<2>>;

TEST_CASE("gradients of recurrent layers", "[recurrent]") {
  SECTION("lstm") { check_gradients<steps<ls::lstm<4, ls::layers<2>>, ls::linear<2>>>({}, several); }
  SECTION("both directions, last states") {
    check_gradients<steps<ls::lstm<3, ls::bidirectional, ls::last_state>>>({}, several);
  }
  SECTION("gru") { check_gradients<steps<ls::gru<4, ls::layers<2>, ls::dropout<0.25>>>>({}, several); }
  SECTION("rnn") { check_gradients<steps<ls::rnn<9, ls::no_bias>>>({}, several); }
}

TEST_CASE("gradients of recurrent layers in other places", "[recurrent]") {
  SECTION("read twice") { check_gradients<doubled>({}, several); }
  SECTION("before a normalised batch") { check_gradients<segmented>({}, several); }
  SECTION("tied") { check_gradients<tied_steps>({}, several); }
}

TEST_CASE("parameters of recurrent layers have torch.nn's names", "[recurrent]") {
  const ls::data_parallel<names, 1, ls::reference<double>> trainer;
  std::vector<std::string> all;
  for (const auto& parameter : trainer.parameters()) all.emplace_back(parameter.name());
  REQUIRE(all.size() == 24);
  CHECK(all[0] == "lstm.weight_ih_l0");
  CHECK(all[1] == "lstm.weight_hh_l0");
  CHECK(all[2] == "lstm.bias_ih_l0");
  CHECK(all[3] == "lstm.bias_hh_l0");
  CHECK(all[4] == "lstm.weight_ih_l0_reverse");
  CHECK(all[8] == "lstm.weight_ih_l1");
  CHECK(all[23] == "lstm.bias_hh_l2_reverse");
}

}  // namespace recurrent_test
