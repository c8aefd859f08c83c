// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "model/networks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

template <class T>
std::vector<T> draws(std::uint64_t stream, std::int64_t n) {
  const ls::random_stream random(ls::seed{88}, ls::random_purpose::synthetic_data, stream);
  std::vector<T> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<T>(2.F * random.uniform(i) - 1.F);
  return all;
}

struct result {
  double loss = 0;
  std::vector<double> output;
  std::vector<std::vector<double>> gradients;
};

/// One pass over `samples` samples: outputs, loss and gradients in PyTorch's order, as doubles.
template <class Model, class B>
result run(std::int64_t samples) {
  using value = typename B::value_type;
  ls::aligned_buffer<value> parameters(Model::parameter_count);
  ls::aligned_buffer<value> gradients(Model::parameter_count);
  ls::initialize_parameters<Model, B>(parameters.data(), ls::seed{3});
  const auto x = draws<value>(1, samples * Model::input_dims.size());
  const auto targets = [&] {
    if constexpr (std::is_same_v<typename Model::loss_type, ls::cross_entropy>) {
      std::vector<std::int64_t> classes(static_cast<std::size_t>(samples));
      for (std::size_t i = 0; i < classes.size(); ++i)
        classes[i] = static_cast<std::int64_t>(i * 7 % static_cast<std::size_t>(Model::output_dims.size()));
      return classes;
    } else {
      return draws<value>(2, samples * Model::output_dims.size());
    }
  }();

  ls::executor<Model, B> device;
  std::vector<value> y(static_cast<std::size_t>(samples * Model::output_dims.size()));
  device.forward(device.load(parameters.data()), x.data(), samples, y.data());
  result r;
  r.loss = device.train(parameters.data(), gradients.data(), x.data(), targets.data(), samples, {.scale = 0.125});
  r.output.assign(y.begin(), y.end());
  for (const auto& each : ls::named_values_range<Model, B, 1, false>({gradients.data()})) {
    const auto values = each.values();
    r.gradients.emplace_back(values.begin(), values.end());
  }
  return r;
}

/// A backend that computes in float against the definitions in double.
template <class Model, class B>
void check_definitions() {
  for (const std::int64_t samples : {1, 3, 300}) {
    INFO(samples << " samples");
    const auto given = run<Model, B>(samples);
    const auto expected = run<Model, ls::reference<double>>(samples);
    CHECK(given.loss == Approx(expected.loss).epsilon(1e-5));
    // The outputs are those of float, not of double.
    const auto is_float = [](double v) { return v == double{static_cast<float>(v)}; };
    CHECK(std::all_of(given.output.begin(), given.output.end(), is_float));
    CHECK(relative_difference(given.output, expected.output) <= 1e-5);
    REQUIRE(given.gradients.size() == expected.gradients.size());
    for (std::size_t p = 0; p < given.gradients.size(); ++p) {
      INFO("parameter " << p);
      CHECK(relative_difference(given.gradients[p], expected.gradients[p]) <= 1e-5);
    }
  }
}

/// Passes in float between parameters and gradients in double.
using converting = ls::reference<double, float>;

}  // namespace

TEST_CASE("passes may compute in other elements than parameters are kept in", "[executor]") {
  SECTION("deep") { check_definitions<deep, converting>(); }
  SECTION("picture output") { check_definitions<picture_output, converting>(); }
  SECTION("flat pictures") { check_definitions<flat_pictures, converting>(); }
  SECTION("relu first") { check_definitions<relu_first, converting>(); }
  SECTION("one layer") { check_definitions<one_layer, converting>(); }
  SECTION("no layer") { check_definitions<only_flatten, converting>(); }
}

TEST_CASE("the CPU backend computes what the definitions say", "[executor]") {
  SECTION("deep") { check_definitions<deep, ls::cpu>(); }
  SECTION("picture output") { check_definitions<picture_output, ls::cpu>(); }
  SECTION("flat pictures") { check_definitions<flat_pictures, ls::cpu>(); }
  SECTION("relu first") { check_definitions<relu_first, ls::cpu>(); }
  SECTION("one layer") { check_definitions<one_layer, ls::cpu>(); }
}

TEST_CASE("a network that only renames its elements gives them back", "[executor]") {
  const auto x = draws<float>(1, 5 * 24);
  const auto r = run<only_flatten, ls::cpu>(5);
  CHECK(r.output == std::vector<double>(x.begin(), x.end()));
  const auto t = draws<float>(2, 5 * 24);
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(double{x[i]} - double{t[i]}, 2);
  CHECK(r.loss == Approx(sum).epsilon(1e-6));
  CHECK(r.gradients.empty());
}

TEST_CASE("gradients accumulate on request, and no samples give zero", "[executor]") {
  using model = picture_output;
  using plain = ls::reference<double>;
  constexpr std::int64_t n = model::parameter_count;
  ls::aligned_buffer<double> parameters(n);
  ls::initialize_parameters<model, plain>(parameters.data(), ls::seed{3});
  const auto x = draws<double>(1, 6 * model::input_dims.size());
  const auto t = draws<double>(2, 6 * model::output_dims.size());
  ls::executor<model, plain> device;
  const auto train = [&](std::int64_t first, std::int64_t count, std::vector<double>& gradients, bool accumulate) {
    return device.train(parameters.data(), gradients.data(), x.data() + first * model::input_dims.size(),
                        t.data() + first * model::output_dims.size(), count, {}, accumulate);
  };
  std::vector<double> whole(static_cast<std::size_t>(n), 99.0);
  std::vector<double> parts(static_cast<std::size_t>(n), 99.0);
  const double loss = train(0, 6, whole, false);
  CHECK(train(0, 2, parts, false) + train(2, 4, parts, true) == Approx(loss).epsilon(1e-12));
  CHECK(relative_difference(parts, whole) <= 1e-12);

  const auto kept = parts;
  CHECK(train(0, 0, parts, true) == 0);
  CHECK(parts == kept);
  CHECK(train(0, 0, parts, false) == 0);
  CHECK(parts == std::vector<double>(static_cast<std::size_t>(n), 0.0));
}

TEST_CASE("many batch sizes in turn give what each gives alone", "[executor]") {
  using model = one_layer;
  ls::aligned_buffer<float> parameters(model::parameter_count);
  ls::initialize_parameters<model, ls::cpu>(parameters.data(), ls::seed{3});
  const auto x = draws<float>(1, 40 * 10);
  ls::executor<model, ls::cpu> kept;
  for (int round = 0; round < 2; ++round)
    for (std::int64_t samples = 1; samples <= 40; samples += 3) {
      std::vector<float> given(static_cast<std::size_t>(samples) * 10);
      std::vector<float> expected(given.size());
      kept.forward(parameters.data(), x.data(), samples, given.data());
      ls::executor<model, ls::cpu> fresh;
      fresh.forward(parameters.data(), x.data(), samples, expected.data());
      CHECK(given == expected);
    }
}
