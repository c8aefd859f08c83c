// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Composites inside `skippable`: skipped, they are as if they were not there.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parallel/rank_support.hpp"
#include "support/queued_backend.hpp"

namespace {

namespace ls = lockstep;
using namespace lockstep_test;

constexpr ls::sgd momentum{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F};

/// A network of rows, or of pictures, with something in its middle, at its beginning, or at its end.
template <class... Middle>
using rows =
    ls::model<ls::sequential<ls::named<"first", ls::linear<8>>, ls::relu, Middle..., ls::named<"last", ls::linear<5>>>,
              ls::input<6>, ls::cross_entropy>;
template <class... Middle>
using pictures = ls::model<ls::sequential<ls::named<"first", ls::conv2d<4, 3, ls::padding<1>>>, ls::relu, Middle...,
                                          ls::flatten, ls::named<"last", ls::linear<5>>>,
                           ls::input<3, 4, 5>, ls::cross_entropy>;
template <class... First>
using at_first = ls::model<ls::sequential<First..., ls::flatten, ls::named<"last", ls::linear<5>>>, ls::input<3, 4, 5>,
                           ls::cross_entropy>;
template <class... Last>
using at_last = ls::model<ls::sequential<ls::named<"first", ls::linear<5>>, Last...>, ls::input<6>, ls::cross_entropy>;

template <class Part>
using block = ls::named<"block", Part>;

using layers = ls::sequential<ls::linear<8>, ls::relu>;
using two_layers = ls::sequential<ls::linear<11>, ls::relu, ls::linear<8>>;
using rest = ls::residual<two_layers>;
using sums = ls::sum<ls::linear<8>, ls::identity, ls::sequential<ls::linear<3>, ls::tanh, ls::linear<8>>>;
using joined = ls::sequential<ls::concat<ls::identity, ls::linear<3>>, ls::linear<8>>;
using copies = ls::repeat<3, ls::residual<ls::linear<8>>>;
using chance = ls::sequential<ls::dropout<0.5>, ls::linear<8>, ls::dropout<0.25>>;

template <int Channels>
using same_conv = ls::conv2d<Channels, 3, ls::padding<1>>;
using convolutions = ls::residual<ls::sequential<same_conv<4>, ls::relu, same_conv<4>>>;
using plain_inside = ls::sequential<ls::sum<same_conv<4>, ls::identity>, ls::relu>;
using normalised =
    ls::residual<ls::sequential<same_conv<4>, ls::batch_norm2d<>, ls::relu, same_conv<4>, ls::batch_norm2d<>>>;

template <class Trainer>
std::vector<float> values(Trainer& trainer, std::string_view name) {
  return trainer.state().at(name).values();
}

/// The values of all tensors under a path.
template <class Range>
std::vector<std::vector<float>> under(const Range& range, std::string_view path) {
  std::vector<std::vector<float>> all;
  for (const auto& each : range)
    if (each.name().substr(0, path.size()) == path) all.push_back(each.values());
  return all;
}

/// Steps that skip "block" are those of the network without it; then steps that run it are those of the network whose
/// block cannot be skipped.
/// Where a composite reads the user's pictures, it keeps their order for what comes after it, and running it gives what
/// `Always` does but for rounding: `same_order` is false.
template <class Skippable, class Always, class Without, int N, class... Policies>
void check_skipped(bool same_order) {
  ls::data_parallel<Skippable, N, Policies...> trainer(momentum);
  ls::data_parallel<Without, N, Policies...> expected(momentum);
  ls::data_parallel<Always, N, Policies...> always(momentum);
  for (const auto& each : expected.state()) each.assign(values(trainer, each.name()));
  const auto before = under(std::as_const(trainer).state(), "block");
  REQUIRE(!before.empty());
  trainer.skip("block");
  for (std::uint64_t i = 0; i < 4; ++i) {
    const piece p = drawn<Skippable>(10 + i, 7);
    CHECK(step_on(trainer, p) == step_on(expected, p));
    for (const auto& each : std::as_const(expected).state())
      CHECK(same_bits(values(trainer, each.name()), each.values()));
  }
  CHECK(same_bits(under(std::as_const(trainer).state(), "block"), before));
  for (const auto& gradient : under(std::as_const(trainer).gradients(), "block"))
    CHECK(gradient == std::vector<float>(gradient.size(), 0.F));
  const piece p = drawn<Skippable>(20, 7);
  CHECK(trainer.evaluate(batch<Skippable>(p.x), p.targets).loss_sum ==
        expected.evaluate(batch<Without>(p.x), p.targets).loss_sum);

  ls::data_parallel<Skippable, N, Policies...> runs(momentum);
  for (const auto& each : always.state()) each.assign(values(runs, each.name()));
  for (std::uint64_t i = 0; i < 3; ++i) {
    const piece next = drawn<Skippable>(30 + i, 7);
    const double given = step_on(runs, next);
    CHECK_THAT(given, Catch::WithinRel(step_on(always, next), same_order ? 0.0 : tolerance<float>));
  }
  const auto given = all_values(std::as_const(runs).state());
  const auto wanted = all_values(std::as_const(always).state());
  if (same_order)
    CHECK(same_bits(given, wanted));
  else
    check_close(given, wanted);
}

template <template <class...> class Net, class Part, class... Policies>
void check_part(bool same_order = true) {
  using with = Net<block<ls::skippable<Part>>>;
  using always = Net<block<Part>>;
  using without = Net<ls::named<"block", ls::identity>>;
  check_skipped<with, always, without, 1, Policies...>(same_order);
  check_skipped<with, always, without, 2, Policies...>(same_order);
  check_skipped<with, always, without, 3, Policies...>(same_order);
}

}  // namespace

TEST_CASE("a skipped composite of rows hands on what arrives", "[skip]") {
  SECTION("sequential") { check_part<rows, layers>(); }
  SECTION("residual") { check_part<rows, rest>(); }
  SECTION("sum") { check_part<rows, sums>(); }
  SECTION("concat") { check_part<rows, joined>(); }
  SECTION("repeat") { check_part<rows, copies>(); }
  SECTION("dropout") { check_part<rows, chance>(); }
  SECTION("at the end") { check_part<at_last, ls::residual<ls::linear<5>>>(); }
  SECTION("on another backend") { check_part<rows, rest, queued>(); }
}

TEST_CASE("a skipped composite of pictures hands on what arrives", "[skip]") {
  SECTION("residual") { check_part<pictures, convolutions>(); }
  SECTION("sum and relu") { check_part<pictures, plain_inside>(); }
  SECTION("at the beginning") { check_part<at_first, ls::residual<same_conv<3>>>(false); }
  SECTION("batch normalisation inside") { check_part<pictures, normalised>(); }
  SECTION("batch normalisation alone") { check_part<pictures, ls::batch_norm2d<>>(); }
}
