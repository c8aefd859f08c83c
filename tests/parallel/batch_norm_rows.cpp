// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/batch_norm.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/parallel/predictor.hpp>

#include "parallel/parallel_support.hpp"
#include "support/tap_layer.hpp"

/// \file
/// Batch normalisation of rows against plain loops, and its buffers as users see them.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

// Small enough for plain loops.
template <class... Options>
using row_net = ls::sequential<ls::named<"a", ls::linear<4>>, ls::named<"n", ls::batch_norm1d<Options...>>,
                               ls::named<"b", ls::linear<2>>>;
template <class... Options>
using rows = ls::model<row_net<Options...>, ls::input<3>, ls::mean_squared_error>;

struct row_parameters {
  std::vector<double> a_weight, a_bias, weight, bias, b_weight, b_bias;
};

template <class Trainer>
row_parameters parameters_of(const Trainer& trainer) {
  const auto at = [&](std::string_view name) {
    const auto values = trainer.parameters().at(name).values();
    return std::vector<double>(values.begin(), values.end());
  };
  return {at("a.weight"), at("a.bias"), at("n.weight"), at("n.bias"), at("b.weight"), at("b.bias")};
}

std::vector<double> linear(const std::vector<double>& x, std::size_t in, const std::vector<double>& weight,
                           const std::vector<double>& bias) {
  std::vector<double> y;
  for (std::size_t s = 0; s < x.size() / in; ++s)
    for (std::size_t o = 0; o < bias.size(); ++o) {
      y.push_back(bias[o]);
      for (std::size_t i = 0; i < in; ++i) y.back() += weight[o * in + i] * x[s * in + i];
    }
  return y;
}

struct statistics {
  std::vector<double> mean, variance;  ///< the variance is divided by n
};

statistics statistics_of(const std::vector<double>& x, std::size_t channels) {
  const std::size_t n = x.size() / channels;
  statistics s{std::vector<double>(channels), std::vector<double>(channels)};
  for (std::size_t i = 0; i < x.size(); ++i) s.mean[i % channels] += x[i] / static_cast<double>(n);
  for (std::size_t i = 0; i < x.size(); ++i)
    s.variance[i % channels] += std::pow(x[i] - s.mean[i % channels], 2) / static_cast<double>(n);
  return s;
}

std::vector<double> normalised(std::vector<double> h, const statistics& s, const row_parameters& p) {
  const std::size_t channels = s.mean.size();
  for (std::size_t i = 0; i < h.size(); ++i) {
    const std::size_t c = i % channels;
    h[i] = (h[i] - s.mean[c]) / std::sqrt(s.variance[c] + 1e-5) * p.weight[c] + p.bias[c];
  }
  return h;
}

/// The mean squared error of 11 samples, of which each of three replicas normalises its own 4, 4 or 3.
double loss_by_shards(const std::vector<double>& x, const std::vector<double>& targets, const row_parameters& p) {
  double sum = 0;
  const std::size_t firsts[] = {0, 4, 8, 11};
  for (int r = 0; r < 3; ++r) {
    const std::vector<double> own(x.begin() + static_cast<std::ptrdiff_t>(3 * firsts[r]),
                                  x.begin() + static_cast<std::ptrdiff_t>(3 * firsts[r + 1]));
    const auto h = linear(own, 3, p.a_weight, p.a_bias);
    const auto y = linear(normalised(h, statistics_of(h, 4), p), 4, p.b_weight, p.b_bias);
    for (std::size_t i = 0; i < y.size(); ++i) sum += std::pow(y[i] - targets[2 * firsts[r] + i], 2);
  }
  return sum / static_cast<double>(targets.size());
}

}  // namespace

TEST_CASE("a step that is refused leaves the buffers as they were", "[batch_norm]") {
  using model = rows<>;
  auto x = draws<float>(1, 9 * 3);
  const auto targets = draws<float>(2, 9 * 2);
  const auto check = [&](ls::non_finite what) {
    ls::data_parallel<model, 2, ls::cpu> trainer({}, {}, {.pin = false, .non_finite = what});
    static_cast<void>(trainer.step(batch<model>(x), targets));
    const auto before = as_doubles(trainer.state());
    auto spoiled = targets;
    spoiled[7] = std::numeric_limits<float>::infinity();
    if (what == ls::non_finite::stop)
      CHECK_THROWS_AS(trainer.step(batch<model>(x), spoiled), ls::non_finite_error);
    else
      static_cast<void>(trainer.step(batch<model>(x), spoiled));
    CHECK(as_doubles(trainer.state()) == before);
    static_cast<void>(trainer.step(batch<model>(x), targets));
    CHECK(trainer.buffers().at("n.num_batches_tracked").values() == std::vector<float>{2});
  };
  check(ls::non_finite::skip);
  check(ls::non_finite::stop);
}

TEST_CASE("with local statistics each replica normalises its own shard", "[batch_norm]") {
  using model = rows<ls::local_statistics>;
  ls::data_parallel<model, 3, ls::reference<double>> trainer({.learning_rate = 0});
  const auto x = draws<double>(1, 11 * 3);
  const auto targets = draws<double>(2, 11 * 2);
  row_parameters p = parameters_of(trainer);
  CHECK(is_close(trainer.step(batch<model>(x), targets), loss_by_shards(x, targets, p), {.relative = 1e-12}));
  const auto check_gradient = [&](std::string_view name, std::vector<double>& of) {
    const auto gradient = trainer.gradients().at(name).values();
    for (std::size_t i = 0; i < of.size(); ++i) {
      constexpr double h = 1e-5;
      const double before = of[i];
      of[i] = before + h;
      const double up = loss_by_shards(x, targets, p);
      of[i] = before - h;
      const double down = loss_by_shards(x, targets, p);
      of[i] = before;
      CHECK(is_close(gradient[i], (up - down) / (2 * h), {.absolute = 1e-8}));
    }
  };
  check_gradient("a.weight", p.a_weight);
  check_gradient("a.bias", p.a_bias);
  check_gradient("n.weight", p.weight);
  check_gradient("n.bias", p.bias);
  check_gradient("b.weight", p.b_weight);

  // The first replica's statistics run on.
  const auto first = linear(std::vector<double>(x.begin(), x.begin() + 12), 3, p.a_weight, p.a_bias);
  const auto s = statistics_of(first, 4);
  const auto mean = trainer.buffers().at("n.running_mean").values();
  const auto variance = trainer.buffers().at("n.running_var").values();
  for (std::size_t c = 0; c < 4; ++c) {
    CHECK(is_close(mean[c], 0.1 * s.mean[c], {.absolute = 1e-14}));
    CHECK(is_close(variance[c], 0.9 + 0.1 * s.variance[c] * 4 / 3, {.absolute = 1e-14}));
  }
}

TEST_CASE("inference normalises by the running statistics", "[batch_norm]") {
  using model = rows<>;
  ls::data_parallel<model, 2, ls::reference<double>> trainer({.learning_rate = 0.1F});
  const auto x = draws<double>(1, 11 * 3);
  const auto targets = draws<double>(2, 11 * 2);
  for (int i = 0; i < 3; ++i) static_cast<void>(trainer.step(batch<model>(x), targets));
  const row_parameters p = parameters_of(trainer);
  const statistics running{trainer.buffers().at("n.running_mean").values(),
                           trainer.buffers().at("n.running_var").values()};
  CHECK(largest_magnitude(running.mean) > 0.01);
  const auto h = linear(x, 3, p.a_weight, p.a_bias);
  const auto expected = linear(normalised(h, running, p), 4, p.b_weight, p.b_bias);
  double loss = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) loss += std::pow(expected[i] - targets[i], 2);
  const auto before = as_doubles(trainer.state());

  const auto y = trainer.forward(batch<model>(x));
  CHECK(largest_difference(std::vector<double>(y.begin(), y.end()), expected) <= 1e-14);
  CHECK(is_close(trainer.evaluate(batch<model>(x), targets).loss(), loss / 22, {.relative = 1e-12}));
  ls::predictor<model, 2, ls::reference<double>> server(trainer);
  const auto served = server.predict(batch<model>(x));
  CHECK(largest_difference(std::vector<double>(served.begin(), served.end()), expected) <= 1e-14);
  CHECK(as_doubles(server.state()) == before);
  CHECK(as_doubles(trainer.state()) == before);
}

TEST_CASE("parameters and buffers are ranges of their own", "[batch_norm]") {
  using model = rows<>;
  ls::data_parallel<model, 1, ls::cpu, ls::averaged<ls::sgd>> trainer;
  const auto names = [](const auto& range) {
    std::string all;
    for (const auto& each : range) all.append(each.name()).append(" ");
    return all;
  };
  CHECK(names(trainer.parameters()) == "a.weight a.bias n.weight n.bias b.weight b.bias ");
  CHECK(names(trainer.gradients()) == "a.weight a.bias n.weight n.bias b.weight b.bias ");
  CHECK(names(trainer.buffers()) == "n.running_mean n.running_var n.num_batches_tracked ");
  CHECK(names(trainer.state()) ==
        "a.weight a.bias n.weight n.bias n.running_mean n.running_var n.num_batches_tracked b.weight b.bias ");
  CHECK(trainer.buffers().at("n.num_batches_tracked").shape() == ls::dims{});
  CHECK(trainer.buffers().at("n.num_batches_tracked").counts());
  CHECK_FALSE(trainer.buffers().at("n.running_mean").counts());
  CHECK_THROWS_WITH(trainer.parameters().at("n.running_mean"), Catch::Contains("parameters: expected one of a.weight"));
  CHECK_THROWS_WITH(trainer.buffers().at("n.mean"), Catch::Contains("buffers: expected one of n.running_mean"));
  trainer.buffers().at("n.running_mean").assign(std::vector<float>{1, 2, 3, 4});
  CHECK(trainer.state().at("n.running_mean").values() == std::vector<float>{1, 2, 3, 4});

  // Averages have the buffers' present values.
  const auto x = draws<float>(1, 11 * 3);
  const auto targets = draws<float>(2, 11 * 2);
  for (int i = 0; i < 2; ++i) static_cast<void>(trainer.step(batch<model>(x), targets));
  const auto averages = trainer.averages();
  CHECK(names(averages.parameters()) == names(trainer.parameters()));
  const ls::predictor<model, 1, ls::cpu> server(averages);
  CHECK(as_doubles(server.buffers()) == as_doubles(trainer.buffers()));
  CHECK_FALSE(as_doubles(server.parameters()) == as_doubles(trainer.parameters()));
}

TEST_CASE("training wants more than one value for each channel", "[batch_norm]") {
  using model = rows<>;
  ls::data_parallel<model, 2, ls::cpu> trainer;
  const auto x = draws<float>(1, 2 * 3);
  const auto targets = draws<float>(2, 2 * 2);
  const auto before = as_doubles(trainer.state());
  const std::vector<float> one_x(x.begin(), x.begin() + 3);
  const std::vector<float> one_target(targets.begin(), targets.begin() + 2);
  constexpr auto message = "batch_norm1d 'n': expected more than one value for each channel when training";
  CHECK_THROWS_AS(trainer.step(batch<model>(one_x), one_target), ls::value_error);
  CHECK_THROWS_WITH(trainer.step(batch<model>(one_x), one_target), Catch::Contains(message));
  CHECK_THROWS_WITH(trainer.accumulate(batch<model>(one_x), one_target), Catch::Contains(message));
  CHECK(as_doubles(trainer.state()) == before);
  CHECK(trainer.steps() == 0);
  CHECK(std::isfinite(trainer.evaluate(batch<model>(one_x), one_target).loss()));
  CHECK(trainer.forward(batch<model>(one_x)).size() == 2);
  CHECK(std::isfinite(trainer.step(batch<model>(x), targets)));

  // A picture has many values for each channel.
  using pictures = ls::model<ls::sequential<ls::batch_norm2d<>, ls::flatten, ls::linear<2>>, ls::input<2, 2, 2>,
                             ls::mean_squared_error>;
  ls::data_parallel<pictures, 2, ls::cpu> of_pictures;
  CHECK(std::isfinite(of_pictures.step(batch<pictures>(draws<float>(1, 8)), one_target)));

  // Each replica counts for itself.
  using local = rows<ls::local_statistics>;
  ls::data_parallel<local, 2, ls::cpu> alone;
  CHECK_THROWS_WITH(alone.step(batch<local>(x), targets), Catch::Contains("on every replica"));
}

TEST_CASE("a mean that is far larger than the deviation", "[batch_norm]") {
  // Rounded to float, such a mean is wrong by a twentieth of the deviation.
  using model = ls::model<ls::sequential<ls::named<"a", ls::linear<8>>, tap<0>, ls::batch_norm1d<>, tap<1>>,
                          ls::input<8>, ls::mean_squared_error>;
  ls::data_parallel<model, 1, ls::cpu> trainer({.learning_rate = 0});
  std::vector<float> identity(64);
  for (std::size_t i = 0; i < 8; ++i) identity[9 * i] = 1;
  trainer.parameters().at("a.weight").assign(identity);
  trainer.parameters().at("a.bias").assign(std::vector<float>(8));
  auto x = draws<float>(1, 57 * 8, 0.02F);
  for (float& v : x) v += 1e4F;
  const auto targets = draws<float>(2, 57 * 8);
  tap<0>::forget();
  tap<1>::forget();
  static_cast<void>(trainer.step(batch<model>(x), targets));
  const std::vector<double> exact_x(x.begin(), x.end());
  REQUIRE(tap<0>::values == exact_x);

  const statistics s = statistics_of(exact_x, 8);
  const double n = 57;
  std::vector<double> y, dx, sum(8), product(8), dy;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % 8;
    y.push_back((exact_x[i] - s.mean[c]) / std::sqrt(s.variance[c] + 1e-5));
    dy.push_back(2 * (y[i] - double{targets[i]}) / (n * 8));
    sum[c] += dy[i] / n;
    product[c] += dy[i] * y[i] / n;
  }
  for (std::size_t i = 0; i < x.size(); ++i)
    dx.push_back((dy[i] - sum[i % 8] - y[i] * product[i % 8]) / std::sqrt(s.variance[i % 8] + 1e-5));
  CHECK(relative_difference(tap<1>::values, y) <= 1e-5);
  CHECK(relative_difference(tap<0>::gradients, dx) <= 1e-5);
  const auto gradient = trainer.gradients().at("2.weight").values();
  for (std::size_t c = 0; c < 8; ++c) CHECK(is_close(gradient[c], n * product[c], {.absolute = 1e-6}));
}

TEST_CASE("a frozen normalisation measures the batch and hands gradients on, as in PyTorch", "[batch_norm]") {
  using frozen_net = ls::sequential<ls::named<"a", ls::linear<4>>, ls::named<"n", ls::frozen<ls::batch_norm1d<>>>,
                                    ls::named<"b", ls::linear<2>>>;
  using frozen_rows = ls::model<frozen_net, ls::input<3>, ls::mean_squared_error>;
  ls::data_parallel<frozen_rows, 3, ls::reference<double>> given;
  ls::data_parallel<rows<>, 1, ls::reference<double>> expected;
  for (const auto& each : expected.parameters()) given.parameters().at(each.name()).assign(each.values());
  const auto x = draws<double>(1, 11 * 3);
  const auto targets = draws<double>(2, 11 * 2);
  CHECK(is_close(given.step(batch<rows<>>(x), targets), expected.step(batch<rows<>>(x), targets), {.relative = 1e-12}));
  CHECK(given.gradients().size() == 4);
  for (const auto& each : given.gradients())
    CHECK(largest_difference(each.values(), expected.gradients().at(each.name()).values()) <= 1e-14);
  CHECK(given.parameters().at("n.weight").values() == std::vector<double>(4, 1));
  for (const auto& each : expected.buffers())
    CHECK(largest_difference(given.buffers().at(each.name()).values(), each.values()) <= 1e-14);
}
