// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/normalisation.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/data/random_split.hpp>
#include <lockstep/io/safetensors.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::field;
using lockstep_test::error_of;
using lockstep_test::lacking;
using table = data::dataset<field<float, 3>, field<float>>;

static_assert(ls::parameter_source<const data::normalisation<ls::shape<3>>>);
static_assert(ls::parameter_target<data::normalisation<ls::shape<3>>>);
static_assert(!ls::parameter_target<const data::normalisation<ls::shape<3>>>);

/// Features of means near 1000, 0.001 and -5, whose deviations differ as much.
table random_table(std::int64_t samples) {
  const ls::random_stream draws(ls::seed{5}, ls::random_purpose::synthetic_data);
  std::vector<float> features;
  std::vector<float> targets;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(samples); ++i) {
    features.push_back(1000 + 3 * draws.uniform(4 * i));
    features.push_back(0.001F * draws.uniform(4 * i + 1));
    features.push_back(-5 + 400 * draws.uniform(4 * i + 2));
    targets.push_back(20 * draws.uniform(4 * i + 3));
  }
  return table(std::move(features), std::move(targets));
}

/// Two passes in long double: the definition.
std::pair<long double, long double> mean_and_deviation(std::span<const float> values, std::size_t first,
                                                       std::size_t step) {
  long double sum = 0;
  long double squares = 0;
  std::size_t count = 0;
  for (std::size_t i = first; i < values.size(); i += step, ++count) sum += static_cast<long double>(values[i]);
  const long double mean = sum / static_cast<long double>(count);
  for (std::size_t i = first; i < values.size(); i += step) {
    const long double distance = static_cast<long double>(values[i]) - mean;
    squares += distance * distance;
  }
  return {mean, std::sqrt(squares / static_cast<long double>(count))};
}

/// A stand-in for a trainer, without parameters of its own.
struct no_parameters {
  struct parameter {
    [[nodiscard]] static std::string name() { return "w"; }
    [[nodiscard]] static ls::dims shape() { return ls::dims(1); }
    [[nodiscard]] static std::vector<float> values() { return {1.0F}; }
    static void assign(std::span<const float> /*values*/) {}
  };
  [[nodiscard]] static std::array<parameter, 1> parameters() { return {}; }
};

}  // namespace

TEST_CASE("normalisation: means and deviations are those of the definition", "[data]") {
  const table train = random_table(1000);
  const auto norm = data::measure_normalisation(train);
  REQUIRE(norm.mean().size() == 3);
  for (std::size_t f = 0; f < 3; ++f) {
    const auto [mean, deviation] = mean_and_deviation(train.values<0>(), f, 3);
    CHECK(norm.mean()[f] == static_cast<float>(mean));
    CHECK(std::abs(norm.deviation()[f] / static_cast<float>(deviation) - 1) <= 2e-7F);
  }
  const auto of_target = data::measure_normalisation<1>(train, "target");
  CHECK(of_target.mean()[0] == static_cast<float>(mean_and_deviation(train.values<1>(), 0, 1).first));
}

TEST_CASE("normalisation: brings the training part to mean 0 and deviation 1, others by the same rule", "[data]") {
  auto [train, test] = data::random_split(random_table(1000), {.validation = 0.3, .seed = {1}});
  const auto norm = data::measure_normalisation(train);
  const std::vector<float> before(test.values<0>().begin(), test.values<0>().end());
  train = data::normalised(std::move(train), norm);
  test = data::normalised(std::move(test), norm);
  for (std::size_t f = 0; f < 3; ++f) {
    const auto [mean, deviation] = mean_and_deviation(train.values<0>(), f, 3);
    CHECK(std::abs(mean) < 1e-4L);
    CHECK(std::abs(deviation - 1) < 1e-6L);
    for (std::size_t i = f; i < before.size(); i += 3) {
      const double expected = (double{before[i]} - double{norm.mean()[f]}) / double{norm.deviation()[f]};
      CHECK(test.values<0>()[i] == static_cast<float>(expected));
    }
  }
  std::vector<float> back(test.values<0>().begin(), test.values<0>().end());
  norm.revert(back);
  // Each of the two roundings is of half a unit in the last place: of the normalised value, and of the result.
  for (std::size_t i = 0; i < back.size(); ++i) {
    const double distance = std::abs(double{before[i]} - double{norm.mean()[i % 3]});
    CHECK(std::abs(double{back[i]} - double{before[i]}) <= 1.001 * 0x1p-24 * (distance + std::abs(double{before[i]})));
  }
}

TEST_CASE("normalisation: a feature that never changes becomes 0", "[data]") {
  // Ten thousand times a value without a finite binary fraction: a sum of squares would leave a rest.
  std::vector<float> features;
  for (int i = 0; i < 10'000; ++i) features.insert(features.end(), {0.1F, static_cast<float>(i % 2), -1e30F});
  const table train(features, std::vector<float>(10'000));
  const auto norm = data::measure_normalisation(train);
  CHECK(norm.mean()[0] == 0.1F);
  CHECK(norm.deviation()[0] == 1.0F);
  CHECK(norm.mean()[2] == -1e30F);
  CHECK(norm.deviation()[2] == 1.0F);
  CHECK(norm.deviation()[1] == 0.5F);
  const auto done = data::normalised(train, norm);
  CHECK(done.values<0>()[0] == 0.0F);
  CHECK(done.values<0>()[2] == 0.0F);
  CHECK(done.values<0>()[1] == -1.0F);
  CHECK(data::measure_normalisation(table({1, 2, 3}, {4})).deviation()[1] == 1.0F);
}

TEST_CASE("normalisation: what a feature is depends on the number of extents", "[data]") {
  SECTION("the channels of a picture") {
    const data::dataset<field<float, 2, 1, 2>> pictures(std::vector<float>{1, 3, 10, 20, 5, 7, 30, 40});
    const auto norm = data::measure_normalisation(pictures);
    CHECK(std::vector<float>(norm.mean().begin(), norm.mean().end()) == std::vector<float>{4, 25});
    CHECK(data::normalised(pictures, norm).values()[2] == -15 / norm.deviation()[1]);
  }
  SECTION("the values of each time of a sequence") {
    const data::dataset<field<float, 2, 3>> sequences(std::vector<float>{1, 2, 3, 3, 4, 7});
    const auto norm = data::measure_normalisation(sequences);
    CHECK(std::vector<float>(norm.mean().begin(), norm.mean().end()) == std::vector<float>{2, 3, 5});
    CHECK(std::vector<float>(norm.deviation().begin(), norm.deviation().end()) == std::vector<float>{1, 1, 2});
  }
}

TEST_CASE("normalisation: refuses what makes no sense", "[data]") {
  using three = data::normalisation<ls::shape<3>>;
  const std::array<float, 3> good{1, 2, 3};
  const std::array<float, 2> two{1, 2};
  CHECK_THROWS_AS(three(two, good), ls::shape_error);
  CHECK_THROWS_AS(three(good, two), ls::shape_error);
  for (const float bad : {0.0F, -1.0F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    CHECK_THROWS_AS(three(good, std::array<float, 3>{1, bad, 1}), ls::value_error);
  CHECK_THROWS_AS(three(std::array<float, 3>{1, std::numeric_limits<float>::quiet_NaN(), 1}, good), ls::value_error);
  std::vector<float> five(5);
  CHECK(error_of<ls::shape_error>([&] { static_cast<void>(three(good, good).apply(five)); }) ==
        "lockstep: normalisation: expected whole samples of 3 values (3), got 5 values");
  CHECK_THROWS_AS(data::measure_normalisation(table(std::vector<float>{}, std::vector<float>{})), ls::value_error);
  CHECK(lacking(error_of<std::exception>([&] {
                  static_cast<void>(data::measure_normalisation(
                      table({1, 2, 3, 4, std::numeric_limits<float>::quiet_NaN(), 6}, {0, 0})));
                }),
                {"nan as value 1 of sample 1"}) == "");
}

TEST_CASE("normalisation: is saved with a model and comes back with it", "[data]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder.path() / "model.safetensors";
  const table train = random_table(50);
  const auto norm = data::measure_normalisation(train);
  const auto of_target = data::measure_normalisation<1>(train, "target");
  no_parameters model;
  ls::save_safetensors(model, path, norm, of_target);
  CHECK(ls::safetensors_file::read(path).names() == std::vector<std::string>{"normalisation.deviation",
                                                                             "normalisation.mean", "target.deviation",
                                                                             "target.mean", "w"});
  CHECK(ls::safetensors_file::read(path).at("normalisation.mean").shape == std::vector<std::int64_t>{3});

  data::normalisation<ls::shape<3>> loaded;
  data::normalisation<ls::shape<>> target("target");
  ls::load_safetensors(model, path, loaded, target);
  CHECK(std::ranges::equal(loaded.mean(), norm.mean()));
  CHECK(std::ranges::equal(loaded.deviation(), norm.deviation()));
  CHECK(std::ranges::equal(target.mean(), of_target.mean()));
  CHECK(std::ranges::equal(target.deviation(), of_target.deviation()));

  // A model that was trained on normalised data is not loaded without their normalisation by accident.
  CHECK(lacking(error_of<std::exception>([&] { static_cast<void>(ls::load_safetensors(model, path)); }),
                {"'normalisation.mean'"}) == "");
}

TEST_CASE("normalisation: a damaged one is refused and changes nothing", "[data]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder.path() / "model.safetensors";
  const std::vector<float> one{1.0F};
  const std::vector<float> mean{1, 2, 3};
  const std::vector<float> zero{1, 0, 1};
  ls::write_safetensors(
      path, std::vector{ls::safetensors_tensor::of("w", {1}, std::span<const float>(one)),
                        ls::safetensors_tensor::of("normalisation.mean", {3}, std::span<const float>(mean)),
                        ls::safetensors_tensor::of("normalisation.deviation", {3}, std::span<const float>(zero))});
  no_parameters model;
  data::normalisation<ls::shape<3>> norm;
  CHECK_THROWS_AS(ls::load_safetensors(model, path, norm), ls::value_error);
  CHECK(norm.mean()[0] == 0.0F);
  data::normalisation<ls::shape<2>> narrow;
  CHECK(lacking(error_of<std::exception>([&] { static_cast<void>(ls::load_safetensors(model, path, narrow)); }),
                {"expected shape [2], got [3]"}) == "");
}

TEST_CASE("normalisation: pictures of bytes are measured as their floats are", "[data]") {
  const ls::random_stream draws(ls::seed{3}, ls::random_purpose::synthetic_data);
  constexpr std::size_t plane = 20;
  std::vector<std::uint8_t> bytes;
  for (std::uint64_t i = 0; i < 50 * 3 * plane; ++i)
    bytes.push_back(static_cast<std::uint8_t>(i / plane % 3 == 2 ? 17 : draws.below(i / plane % 3 == 0 ? 256 : 90, i)));
  const data::dataset<ls::shape<3, 4, 5>> pictures(bytes, std::vector<std::int64_t>(50), 1);
  const auto norm = data::measure_normalisation(pictures, "pixels");
  const auto floats = data::to_fields(pictures);
  CHECK(norm.parameters()[0].name() == "pixels.mean");
  for (std::size_t c = 0; c < 3; ++c) {
    std::vector<float> channel;
    for (std::size_t i = 0; i < floats.values().size(); ++i)
      if (i / plane % 3 == c) channel.push_back(floats.values()[i]);
    const auto [mean, deviation] = mean_and_deviation(channel, 0, 1);
    CHECK(norm.mean()[c] == Approx(static_cast<double>(mean)).epsilon(1e-7));
    CHECK(norm.deviation()[c] == (c == 2 ? Approx(1) : Approx(static_cast<double>(deviation)).epsilon(1e-6)));
  }
  const data::dataset<ls::shape<3, 4, 5>> none({}, {}, 1);
  CHECK(lacking(error_of<ls::value_error>([&] { static_cast<void>(data::measure_normalisation(none)); }),
                {"measure_normalisation", "one sample or more"})
            .empty());
}
