// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/frozen.hpp>

#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/conv_transpose2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/group_norm.hpp>
#include <lockstep/nn/gru.hpp>
#include <lockstep/nn/layer_norm.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/lstm.hpp>
#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/rms_norm.hpp>

#include "model/networks.hpp"
#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::conv2d;
using ls::conv_transpose2d;
using ls::dropout;
using ls::flatten;
using ls::frozen;
using ls::input;
using ls::linear;
using ls::named;
using ls::relu;
using ls::sequential;

/// One tensor of a model, with what lies in its place of a flat range.
struct tensor_values {
  std::string name;
  bool is_frozen;
  doubles values;
};

template <class Model>
std::vector<tensor_values> tensors(const doubles& flat) {
  constexpr const auto& plan = Model::template plan<oracle>;
  std::vector<tensor_values> all;
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    const auto& parameter = plan.parameters[static_cast<std::size_t>(p)];
    const auto first = flat.begin() + parameter.offset;
    all.push_back({Model::template parameter_name<oracle>(parameter),
                   plan.nodes[static_cast<std::size_t>(parameter.node)].frozen,
                   doubles(first, first + parameter.shape.size())});
  }
  return all;
}

/// The flat range of a model, filled in the model's order of tensors.
template <class Model>
doubles flat_range(const doubles& in_order) {
  constexpr const auto& plan = Model::template plan<oracle>;
  doubles flat(in_order.size());
  std::int64_t next = 0;
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    const auto& parameter = plan.parameters[static_cast<std::size_t>(p)];
    std::copy_n(in_order.begin() + next, parameter.shape.size(), flat.begin() + parameter.offset);
    next += parameter.shape.size();
  }
  return flat;
}

/// A model with frozen layers has the outputs, the loss and the gradients of the same model without `frozen`, and
/// leaves alone what lies behind the gradients of the parameters that learn.
template <class Frozen, class Plain, class B>
void check_frozen_on() {
  using value = typename B::value_type;
  CAPTURE(B::name);
  const settings s{.samples = 4};
  const doubles in_order = uniform(Plain::parameter_count, 1);
  const doubles x = uniform(s.samples * Plain::input_dims.size(), 2);
  const doubles targets = make_targets<Plain>(s);
  runner<Plain, B> plain({}, x, targets, s);
  runner<Frozen, B> part({}, x, targets, s);
  const doubles plain_parameters = flat_range<Plain>(in_order);
  const doubles part_parameters = flat_range<Frozen>(in_order);
  CHECK(part.layout_is_permutation());
  CHECK(part.forward(part_parameters) == plain.forward(plain_parameters));

  for (const bool accumulate : {false, true}) {
    CAPTURE(accumulate);
    const doubles before = accumulate ? uniform(Plain::parameter_count, 3) : filled(Plain::parameter_count, poison);
    doubles expected = flat_range<Plain>(before);
    doubles given = flat_range<Frozen>(before);
    const double loss = plain.train(plain_parameters, expected, accumulate);
    CHECK(part.train(part_parameters, given, accumulate) == Approx(loss).epsilon(tolerance<value>(16)));
    const auto start = tensors<Plain>(flat_range<Plain>(before));
    const auto want = tensors<Plain>(expected);
    const auto got = tensors<Frozen>(given);
    REQUIRE(got.size() == want.size());
    for (std::size_t p = 0; p < got.size(); ++p) {
      CAPTURE(want[p].name);
      CHECK(got[p].name == want[p].name);
      if (got[p].is_frozen) {
        // In float the runner rounds what it hands over.
        doubles untouched;
        for (const double v : start[p].values) untouched.push_back(static_cast<double>(static_cast<value>(v)));
        check_close(got[p].values, untouched, 0);
        CHECK(got[p].values != want[p].values);
      } else {
        check_close(got[p].values, want[p].values, tolerance<value>(64));
      }
    }
  }
}

template <class Frozen, class Plain>
void check_frozen() {
  const auto all = [&]<class... B>(std::type_identity<std::tuple<B...>>) {
    (check_frozen_on<Frozen, Plain, B>(), ...);
  };
  check_frozen_on<Frozen, Plain, oracle>();
  all(std::type_identity<backends>{});
}

template <class Model>
std::vector<std::string> names(bool of_frozen) {
  std::vector<std::string> all;
  for (const auto& tensor : tensors<Model>(doubles(static_cast<std::size_t>(Model::parameter_count))))
    if (tensor.is_frozen == of_frozen) all.push_back(tensor.name);
  return all;
}

using list = std::vector<std::string>;

}  // namespace

TEST_CASE("frozen goes around or into a name, and around whole parts of a network", "[frozen]") {
  using around = regression<input<4>, frozen<named<"a", linear<3>>>, relu, linear<2>>;
  using inside = regression<input<4>, named<"a", frozen<linear<3>>>, relu, linear<2>>;
  CHECK(names<around>(true) == list{"a.weight", "a.bias"});
  CHECK(names<around>(false) == list{"2.weight", "2.bias"});
  CHECK(names<inside>(true) == names<around>(true));
  CHECK(names<inside>(false) == names<around>(false));

  using twice = regression<input<4>, frozen<named<"a", frozen<frozen<linear<3>>>>>, linear<2>>;
  CHECK(names<twice>(true) == list{"a.weight", "a.bias"});
  CHECK(twice::trainable_count == 3 * 2 + 2);

  using part = regression<
      input<2, 5, 5>,
      frozen<named<"features", sequential<conv2d<3, 3>, relu, named<"last", conv2d<2, 3, ls::no_bias>>, flatten>>>,
      named<"head", sequential<frozen<linear<4>>, relu, linear<2>>>>;
  CHECK(names<part>(true) ==
        list{"features.0.weight", "features.0.bias", "features.last.weight", "head.0.weight", "head.0.bias"});
  CHECK(names<part>(false) == list{"head.2.weight", "head.2.bias"});

  using whole = ls::model<frozen<sequential<linear<3>, relu, linear<2>>>, input<4>, ls::mean_squared_error>;
  CHECK(names<whole>(true) == list{"0.weight", "0.bias", "2.weight", "2.bias"});
  CHECK(whole::trainable_count == 0);
  CHECK(whole::parameter_count == 4 * 3 + 3 + 3 * 2 + 2);
}

TEST_CASE("a frozen first layer leaves the gradients of the others as they are", "[frozen]") {
  check_frozen<regression<input<2, 6, 5>, frozen<conv2d<4, 3>>, relu, flatten, linear<3>>,
               regression<input<2, 6, 5>, conv2d<4, 3>, relu, flatten, linear<3>>>();
  check_frozen<regression<input<6>, frozen<linear<20>>, relu, linear<3>>,
               regression<input<6>, linear<20>, relu, linear<3>>>();
}

TEST_CASE("gradients pass through a frozen layer in the middle", "[frozen]") {
  SECTION("products, narrow and wide, with masks of a relu before and behind") {
    check_frozen<regression<input<6>, linear<7>, relu, frozen<linear<5>>, relu, linear<3>>,
                 regression<input<6>, linear<7>, relu, linear<5>, relu, linear<3>>>();
    check_frozen<regression<input<6>, linear<24>, relu, frozen<linear<32>>, relu, linear<3>>,
                 regression<input<6>, linear<24>, relu, linear<32>, relu, linear<3>>>();
    check_frozen<regression<input<6>, linear<24>, frozen<ls::linear_without_bias<20>>, linear<3>>,
                 regression<input<6>, linear<24>, ls::linear_without_bias<20>, linear<3>>>();
  }
  SECTION("convolutions") {
    using plain = regression<input<2, 8, 7>, conv2d<4, 3, ls::padding<1>>, relu, conv2d<6, 3, ls::stride<2>>, relu,
                             conv2d<3, 2, ls::no_bias>, flatten, linear<3>>;
    check_frozen<regression<input<2, 8, 7>, conv2d<4, 3, ls::padding<1>>, relu, frozen<conv2d<6, 3, ls::stride<2>>>,
                            relu, frozen<conv2d<3, 2, ls::no_bias>>, flatten, linear<3>>,
                 plain>();
  }
  SECTION("normalised samples") {
    check_frozen<regression<input<6>, linear<8>, frozen<ls::layer_norm<>>, relu, linear<8>, frozen<ls::group_norm<2>>,
                            linear<5>, frozen<ls::rms_norm<>>, linear<2>>,
                 regression<input<6>, linear<8>, ls::layer_norm<>, relu, linear<8>, ls::group_norm<2>, linear<5>,
                            ls::rms_norm<>, linear<2>>>();
    check_frozen<regression<input<2, 4, 4>, conv2d<8, 2>, frozen<ls::group_norm<2>>, relu, conv2d<3, 2>,
                            frozen<ls::group_norm<1>>, flatten, linear<2>>,
                 regression<input<2, 4, 4>, conv2d<8, 2>, ls::group_norm<2>, relu, conv2d<3, 2>, ls::group_norm<1>,
                            flatten, linear<2>>>();
  }
  SECTION("recurrent layers") {
    check_frozen<regression<input<3, 2>, linear<4>, frozen<ls::lstm<4, ls::layers<2>>>, linear<4>, frozen<ls::gru<3>>>,
                 regression<input<3, 2>, linear<4>, ls::lstm<4, ls::layers<2>>, linear<4>, ls::gru<3>>>();
  }
  SECTION("transposed convolutions") {
    check_frozen<
        regression<input<2, 4, 3>, conv2d<4, 3, ls::padding<1>>, relu, frozen<conv_transpose2d<6, 3, ls::stride<2>>>,
                   relu, frozen<conv_transpose2d<3, 2, ls::no_bias>>, flatten, linear<3>>,
        regression<input<2, 4, 3>, conv2d<4, 3, ls::padding<1>>, relu, conv_transpose2d<6, 3, ls::stride<2>>, relu,
                   conv_transpose2d<3, 2, ls::no_bias>, flatten, linear<3>>>();
  }
}

TEST_CASE("a network may end in frozen layers", "[frozen]") {
  check_frozen<regression<input<6>, linear<20>, relu, frozen<sequential<linear<18>, relu, linear<2>>>>,
               regression<input<6>, linear<20>, relu, sequential<linear<18>, relu, linear<2>>>>();
}

TEST_CASE("freezing layers without parameters changes nothing", "[frozen]") {
  using plain = regression<input<2, 6, 6>, conv2d<4, 3>, relu, ls::max_pool2d<2>, dropout<>, flatten, linear<3>>;
  using same = regression<input<2, 6, 6>, conv2d<4, 3>, frozen<relu>, frozen<ls::max_pool2d<2>>, frozen<dropout<>>,
                          frozen<flatten>, linear<3>>;
  using without = regression<input<2, 6, 6>, conv2d<4, 3>, relu, ls::max_pool2d<2>, flatten, linear<3>>;
  STATIC_REQUIRE(same::trainable_count == same::parameter_count);
  CHECK(names<same>(true).empty());
  const settings s;
  const doubles parameters = uniform(plain::parameter_count, 1);
  const doubles x = uniform(s.samples * plain::input_dims.size(), 2);
  const doubles targets = make_targets<plain>(s);
  runner<plain, oracle> one({}, x, targets, s);
  runner<same, oracle> other({}, x, targets, s);
  runner<without, oracle> none({}, x, targets, s);
  doubles expected(parameters.size()), given(parameters.size()), undropped(parameters.size());
  const double loss = one.train(parameters, expected, false);
  CHECK(other.train(parameters, given, false) == loss);
  CHECK(given == expected);
  // It still drops while training, and only then.
  CHECK(none.train(parameters, undropped, false) != loss);
  CHECK(other.forward(parameters) == none.forward(parameters));
}

TEST_CASE("a dropout between frozen layers draws the masks that it draws between others", "[frozen]") {
  check_frozen<regression<input<6>, linear<9>, frozen<sequential<dropout<>, linear<20>, relu, dropout<>>>, linear<3>>,
               regression<input<6>, linear<9>, sequential<dropout<>, linear<20>, relu, dropout<>>, linear<3>>>();
}

TEST_CASE("branches that do not learn", "[frozen]") {
  check_frozen<frozen_branches, branches_of<std::type_identity_t>>();
}
