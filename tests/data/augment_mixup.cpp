// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/augment/mixup.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/augment/pad_and_crop.hpp>
#include <lockstep/data/augment/pipeline.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/one_hot.hpp>
#include <lockstep/data/sampler_basic.hpp>
#include <lockstep/data/table.hpp>

#include "data/augment_support.hpp"
#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::augment;
using data::field;
using data::mixup;
using lockstep_test::error_of;
using lockstep_test::excess;
using lockstep_test::lacking;

constexpr std::int64_t samples = 20;

/// Sample i has features e_i (1 at i, 0 elsewhere) and targets 3 e_i, so a mixture shows its parts.
using unit_set = data::dataset<field<float, samples>, field<double, samples>>;
unit_set units() {
  std::vector<float> features(static_cast<std::size_t>(samples * samples));
  std::vector<double> targets(features.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(samples); ++i) {
    features[i * static_cast<std::size_t>(samples + 1)] = 1;
    targets[i * static_cast<std::size_t>(samples + 1)] = 3;
  }
  return unit_set(std::move(features), std::move(targets));
}

struct mixture {
  std::int64_t other = 0;
  double weight = 0;
};

/// The mixtures of sample after sample in several epochs. Fails unless each is one, of features and targets alike.
std::vector<mixture> mixtures(double alpha, int epochs) {
  const unit_set set = units();
  data::loader batches{set, {.batch = 7, .seed = {3}}, augment{mixup{.alpha = alpha}}};
  std::vector<mixture> result;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    std::int64_t own = 0;
    for (auto&& [features, targets] : batches)
      for (std::int64_t i = 0; i < features.extent(0); ++i, ++own) {
        mixture found{own, 1};  // with itself, it stays as it is
        double sum = 0;
        int parts = 0;
        for (std::int64_t k = 0; k < samples; ++k) {
          const float part = features(i, k);
          sum += double{part};
          CHECK(targets[static_cast<std::size_t>(i * samples + k)] == Approx(3 * double{part}).margin(1e-6));
          if (k != own && part != 0) found = {k, double{features(i, own)}};
          parts += part != 0 ? 1 : 0;
        }
        REQUIRE(sum == Approx(1));
        REQUIRE(parts <= 2);
        result.push_back(found);
      }
    REQUIRE(own == samples);
  }
  return result;
}

/// Kolmogorov's distance between draws and a distribution, times the root of their number: above 1.95 once in a
/// thousand times when the draws come from it.
double distance(std::vector<double> draws, const std::function<double(double)>& cumulative) {
  std::sort(draws.begin(), draws.end());
  const auto n = static_cast<double>(draws.size());
  double most = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const double p = cumulative(draws[i]);
    most = std::max({most, static_cast<double>(i + 1) / n - p, p - static_cast<double>(i) / n});
  }
  return most * std::sqrt(n);
}

std::vector<double> weights(double alpha, std::uint64_t count) {
  std::vector<double> result;
  for (std::uint64_t i = 0; i < count; ++i) {
    data::random_draws draws(ls::random_stream(ls::seed{5}, ls::random_purpose::augmentation, 0, i), 0);
    result.push_back(data::detail::draw_beta(alpha, draws));
  }
  return result;
}

}  // namespace

TEST_CASE("mixup mixes features and targets alike with any other sample", "[data][augment]") {
  const auto found = mixtures(1, 200);
  std::vector<double> others(static_cast<std::size_t>(samples));
  std::vector<double> of_weights;
  for (std::size_t i = 0; i < found.size(); ++i) {
    ++others[static_cast<std::size_t>(found[i].other)];
    if (found[i].other != static_cast<std::int64_t>(i) % samples) of_weights.push_back(found[i].weight);
  }
  CHECK(std::abs(excess(others, std::vector<double>(others.size(), static_cast<double>(found.size()) /
                                                                       static_cast<double>(samples)))) < 4);
  CHECK(distance(of_weights, [](double x) { return x; }) < 1.95);  // Beta(1, 1) is uniform
}

TEST_CASE("mixup draws its weights from Beta(alpha, alpha)", "[data][augment]") {
  constexpr double pi = 3.14159265358979323846;
  CHECK(distance(weights(1, 20'000), [](double x) { return x; }) < 1.95);
  CHECK(distance(weights(0.5, 20'000), [](double x) { return 2 / pi * std::asin(std::sqrt(x)); }) < 1.95);
  CHECK(distance(weights(2, 20'000), [](double x) { return x * x * (3 - 2 * x); }) < 1.95);
  CHECK(distance(weights(3, 20'000), [](double x) { return x * x * x * (10 - 15 * x + 6 * x * x); }) < 1.95);
  for (const double alpha : {0.001, 0.2, 5.0, 400.0}) {
    const auto drawn = weights(alpha, 20'000);
    double mean = 0;
    double square = 0;
    for (const double w : drawn) {
      REQUIRE(w >= 0);
      REQUIRE(w <= 1);
      mean += w / 20'000;
      square += (w - 0.5) * (w - 0.5) / 20'000;
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    CHECK(std::abs(mean - 0.5) < 4 * std::sqrt(variance / 20'000));
    CHECK(square == Approx(variance).epsilon(0.06));
  }
}

TEST_CASE("mixup takes the other sample as the transforms before it leave it at its own place", "[data][augment]") {
  // Each sample is marked with its own draw, so what mixup adds shows whose draw it was.
  const data::dataset<field<float, 1>, field<float, samples>> set(
      std::vector<float>(static_cast<std::size_t>(samples)), [] {
        std::vector<float> targets(static_cast<std::size_t>(samples * samples));
        for (std::size_t i = 0; i < targets.size(); i += static_cast<std::size_t>(samples + 1)) targets[i] = 1;
        return targets;
      }());
  const auto mark = [](auto sample, data::random_draws& draws) { sample(0) += static_cast<float>(draws.uniform()); };
  std::vector<float> marks;
  for (auto&& [x, y] : data::loader{set, {}, augment{mark}})
    for (std::int64_t i = 0; i < samples; ++i) marks.push_back(x(i, 0));
  int mixed = 0;
  for (auto&& [x, y] : data::loader{set, {}, augment{mark, mixup{}}})
    for (std::int64_t i = 0; i < samples; ++i) {
      double expected = 0;
      for (std::int64_t k = 0; k < samples; ++k)
        expected += double{y[static_cast<std::size_t>(i * samples + k)]} * double{marks[static_cast<std::size_t>(k)]};
      CHECK(double{x(i, 0)} == Approx(expected).margin(1e-6));
      mixed += x(i, 0) != marks[static_cast<std::size_t>(i)] ? 1 : 0;
    }
  CHECK(mixed > samples / 2);
  // Two of them: a mixture of two mixtures still has weights that add up to one.
  for (auto&& [x, y] : data::loader{set, {}, augment{mixup{}, mark, mixup{}}}) {
    int of_more_than_two = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(samples); ++i) {
      const auto row = y.subspan(i * static_cast<std::size_t>(samples), static_cast<std::size_t>(samples));
      float sum = 0;
      for (const float part : row) sum += part;
      CHECK(sum == Approx(1));
      of_more_than_two += std::count_if(row.begin(), row.end(), [](float part) { return part > 0; }) > 2 ? 1 : 0;
    }
    CHECK(of_more_than_two > samples / 2);
  }
}

TEST_CASE("mixup mixes with what the sampler visits, and nothing else", "[data][augment]") {
  const unit_set set = units();
  data::loader batches{
      set, {.batch = 4}, data::subset_sampler({2, 3, 5, 7, 11, 13}, samples, {.shuffle = true}), augment{mixup{}}};
  std::vector<double> seen(static_cast<std::size_t>(samples));
  for (int epoch = 0; epoch < 20; ++epoch)
    for (auto&& [features, targets] : batches)
      for (std::int64_t i = 0; i < features.extent(0); ++i)
        for (std::int64_t k = 0; k < samples; ++k) seen[static_cast<std::size_t>(k)] += double{features(i, k)};
  for (std::size_t k = 0; k < seen.size(); ++k) {
    const bool visited = k == 2 || k == 3 || k == 5 || k == 7 || k == 11 || k == 13;
    CHECK((seen[k] > 0) == visited);
  }
}

TEST_CASE("mixup refuses an alpha that is not above zero", "[data][augment]") {
  const unit_set set = units();
  for (const double alpha : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")})
    CHECK(lacking(error_of<ls::value_error>([&] {
                    const data::loader l{set, {}, augment{mixup{.alpha = alpha}}};
                  }),
                  {"mixup", "alpha above 0"})
              .empty());
}

TEST_CASE("one_hot turns classes into targets", "[data][augment]") {
  const data::dataset<ls::shape<1, 1, 2>> pictures({0, 255, 51, 102}, {2, 0}, 3);
  const auto targets = data::one_hot<3>(pictures);
  CHECK(std::vector<float>(targets.values<1>().begin(), targets.values<1>().end()) ==
        std::vector<float>{0, 0, 1, 1, 0, 0});
  CHECK(std::vector<float>(targets.values().begin(), targets.values().end()) ==
        std::vector<float>{0, 1, 51.0F / 255, 102.0F / 255});
  CHECK(lacking(error_of<ls::value_error>([&] { static_cast<void>(data::one_hot<2>(pictures)); }),
                {"one_hot", "labels from 0 to 1", "2 for sample 0"})
            .empty());
}
