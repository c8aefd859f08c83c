// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "nn/support.hpp"

// Networks with several outputs and a loss for each: what the losses say, and what backward makes of them.

using namespace lockstep_test;

namespace {

template <class... Parts>
using losses = ls::losses<Parts...>;
using ls::cross_entropy;
using ls::mean_squared_error;
template <ls::fixed_string Name, class T>
using named = ls::named<Name, T>;

using trunk = ls::sequential<ls::conv2d<3, 3, ls::padding<1>>, ls::relu>;
using class_head = ls::sequential<ls::flatten, ls::linear<4>>;
using box_head = ls::sequential<ls::max_pool2d<2>, ls::flatten, ls::linear<5>, ls::relu, ls::linear<2>>;
using mask_head = ls::conv2d<1, 3, ls::padding<1>>;
using sample = ls::input<2, 4, 6>;

template <class... Heads>
using net = ls::sequential<trunk, ls::outputs<Heads...>>;
/// The losses come in another order than the outputs, and find theirs by name.
using detector = ls::model<net<named<"class", class_head>, named<"box", box_head>, named<"mask", mask_head>>, sample,
                           losses<ls::weighted<0.25, named<"mask", mean_squared_error>>, named<"class", cross_entropy>,
                                  named<"box", ls::weighted<3, mean_squared_error>>>>;
using B = oracle;

constexpr std::int64_t samples = 5;

struct drawn_batch {
  doubles x = uniform(samples * detector::input_dims.size(), 11);
  std::vector<std::int64_t> classes{0, 3, -100, 1, 2};
  doubles boxes = uniform(samples * 2, 12);
  doubles masks = uniform(samples * 24, 13);
};

using pack = detector::loss_type::target_pack<double>;
pack pack_of(const drawn_batch& b) { return {{b.classes.data(), b.boxes.data(), b.masks.data()}}; }

/// The parameters in the plan's order; gradients, and the weighted loss.
struct outcome {
  double loss = 0;
  doubles gradients;
};

outcome train(const doubles& parameters, const drawn_batch& b, const detector::loss_type& loss = {}) {
  ls::executor<detector, B> device({}, loss);
  outcome result{.gradients = filled(detector::parameter_count, poison)};
  const auto denominators = loss.denominators(pack_of(b), samples);
  const auto scales = ls::detail::loss_scales(loss, denominators);
  std::array<ls::step_values, 3> now{};
  for (std::size_t k = 0; k < 3; ++k) now[k].scale = scales[k];
  const auto sums = device.train(parameters.data(), result.gradients.data(), b.x.data(), pack_of(b), samples, now);
  for (std::size_t k = 0; k < 3; ++k) result.loss += loss.weights()[k] * sums[k] / denominators[k];
  return result;
}

/// The loss and the gradients of a model with one head alone, added with a weight into the joint model's places: the
/// trunk's parameters come first in both, and the head's at `place`.
template <class Head, class Loss, class Target>
void add_alone(outcome& to, double weight, std::int64_t place, const doubles& parameters, const drawn_batch& b,
               const std::vector<Target>& targets) {
  using alone = ls::model<ls::sequential<trunk, Head>, sample, Loss>;
  constexpr std::int64_t shared = 3 * 2 * 9 + 3;
  constexpr std::int64_t own = alone::parameter_count - shared;
  doubles of_head(parameters.begin(), parameters.begin() + shared);
  of_head.insert(of_head.end(), parameters.begin() + place, parameters.begin() + place + own);
  ls::executor<alone, B> device;
  const double denominator =
      Loss{}.denominator(targets.data(), static_cast<std::int64_t>(targets.size()), alone::output_dims);
  doubles gradients = filled(alone::parameter_count, poison);
  const double sum = device.train(of_head.data(), gradients.data(), b.x.data(), targets.data(), samples,
                                  ls::step_values{.scale = 1 / denominator});
  to.loss += weight * sum / denominator;
  for (std::int64_t i = 0; i < alone::parameter_count; ++i)
    to.gradients[static_cast<std::size_t>(i < shared ? i : place + i - shared)] +=
        weight * gradients[static_cast<std::size_t>(i)];
}

}  // namespace

TEST_CASE("losses find their outputs by name, or by position", "[losses]") {
  STATIC_REQUIRE(detector::output_count == 3);
  STATIC_REQUIRE(detector::loss_count == 3);
  STATIC_REQUIRE(detector::output<"box"> == 1);
  STATIC_REQUIRE(detector::output_extents[2] == ls::dims{1, 4, 6});
  STATIC_REQUIRE(std::is_same_v<detector::loss_type::part<0>, cross_entropy>);
  STATIC_REQUIRE(std::is_same_v<detector::loss_type::target_type<float>, std::tuple<std::int64_t, float, float>>);
  CHECK(detector::loss_type{}.weights() == std::array{1.0, 3.0, 0.25});
  CHECK(std::string(detector::paths[1].view()) == "0.1");
  CHECK(std::string(detector::paths[3].view()) == "1.class.1");

  using ordered = ls::model<net<class_head, mask_head>, sample, losses<cross_entropy, mean_squared_error>>;
  STATIC_REQUIRE(std::is_same_v<ordered::loss_type::part<1>, mean_squared_error>);
  CHECK(ordered::loss_type{}.weights() == std::array{1.0, 1.0});

  using without = ls::model<net<class_head, mask_head>, sample>;
  STATIC_REQUIRE_FALSE(without::has_loss);
  STATIC_REQUIRE(without::is_valid);
}

TEST_CASE("options and weights of each loss are reached by name and by position", "[losses]") {
  losses<ls::weighted<0.5, named<"box", mean_squared_error>>, named<"class", cross_entropy>> loss;
  loss.get<"class">().label_smoothing = 0.1F;
  CHECK(loss.get<1>().label_smoothing == 0.1F);
  CHECK(loss.weight<0>() == 0.5);
  loss.weight<"class">() = 2;
  CHECK(loss.weight<1>() == 2);

  using model = ls::model<net<named<"class", class_head>, named<"box", box_head>>, sample, decltype(loss)>;
  const model::loss_type joint = loss;
  CHECK(joint.weights() == std::array{2.0, 0.5});
  CHECK(joint.of<0>().label_smoothing == 0.1F);
  CHECK_NOTHROW(joint.check_options({}));

  CHECK_NOTHROW(losses<cross_entropy, mean_squared_error>({.label_smoothing = 0.5F}, {}));
  loss.get<"class">().label_smoothing = 2;
  CHECK_THROWS_AS(model::loss_type(loss).check_options({}), ls::value_error);
  loss.get<"class">().label_smoothing = 0;
  for (const double weight : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    loss.weight<"box">() = weight;
    CHECK_THROWS_AS(model::loss_type(loss).check_options({}), ls::value_error);
  }
}

TEST_CASE("each loss has the denominator that it has alone", "[losses]") {
  const drawn_batch b;
  detector::loss_type loss;
  CHECK(loss.denominators(pack_of(b), samples) == std::array{4.0, 10.0, 120.0});
  CHECK(loss.denominators(pack_of(b) + 2, 2) == std::array{1.0, 4.0, 48.0});
  loss.get<"class">().class_weights = {1, 2, 4, 8};
  CHECK(loss.denominators(pack_of(b), samples) == std::array{15.0, 10.0, 120.0});
}

TEST_CASE("gradients of several losses are the weighted sum of those of each alone", "[losses]") {
  const drawn_batch b;
  const doubles parameters = uniform(detector::parameter_count, 10);
  const outcome given = train(parameters, b);
  outcome expected{.gradients = filled(detector::parameter_count, 0)};
  // The reference backend keeps parameters in PyTorch's order, and the plan layer after layer.
  std::int64_t place = 3 * 2 * 9 + 3;
  add_alone<class_head, cross_entropy>(expected, 1, place, parameters, b, b.classes);
  place += 72 * 4 + 4;
  add_alone<box_head, mean_squared_error>(expected, 3, place, parameters, b, b.boxes);
  place += (18 * 5 + 5) + (5 * 2 + 2);
  add_alone<mask_head, mean_squared_error>(expected, 0.25, place, parameters, b, b.masks);
  CHECK(given.loss == Approx(expected.loss).epsilon(1e-13));
  check_close(given.gradients, expected.gradients, 1e-13 * std::max(1.0, largest_magnitude(expected.gradients)));
}

TEST_CASE("gradients of several losses are the slopes of their weighted sum", "[losses]") {
  const drawn_batch b;
  constexpr double h = 1e-5;
  doubles moved = uniform(detector::parameter_count, 10);
  const doubles gradients = train(moved, b).gradients;
  doubles differences;
  for (double& p : moved) {
    const double before = p;
    p = before + h;
    const double up = train(moved, b).loss;
    p = before - h;
    const double down = train(moved, b).loss;
    p = before;
    differences.push_back((up - down) / (2 * h));
  }
  check_close(gradients, differences, 1e-8 * std::max(1.0, largest_magnitude(differences)));
}

TEST_CASE("a loss of weight zero changes no gradient", "[losses]") {
  const drawn_batch b;
  const doubles parameters = uniform(detector::parameter_count, 10);
  detector::loss_type loss;
  loss.weight<"class">() = loss.weight<"mask">() = 0;
  const outcome given = train(parameters, b, loss);
  outcome expected{.gradients = filled(detector::parameter_count, 0)};
  add_alone<box_head, mean_squared_error>(expected, 3, 3 * 2 * 9 + 3 + 72 * 4 + 4, parameters, b, b.boxes);
  check_close(given.gradients, expected.gradients, 1e-13 * std::max(1.0, largest_magnitude(expected.gradients)));
}
