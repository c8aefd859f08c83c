// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/nn/group_norm.hpp>
#include <lockstep/nn/layer_norm.hpp>
#include <lockstep/nn/rms_norm.hpp>

#include "parallel/reproducible.hpp"

/// \file
/// Normalised samples, and rows of samples, on any number of replicas against one device.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

template <int Channels>
using conv3 = ls::conv2d<Channels, 3, ls::padding<1>>;

// 16, 8 and 6 channels: wide vectors, narrow ones, and none.
using pictures = ls::model<
    ls::sequential<conv3<16>, ls::group_norm<4>, ls::relu,
                   ls::residual<ls::sequential<conv3<8>, ls::group_norm<2>, ls::relu, conv3<6>, ls::group_norm<3>>,
                                ls::sequential<ls::conv2d<6, 1>, ls::layer_norm<>>>,
                   ls::relu, ls::max_pool2d<2>, ls::dropout<0.3>, ls::flatten, ls::rms_norm<>, ls::linear<20>,
                   ls::layer_norm<ls::no_bias>, ls::relu, ls::linear<3>>,
    ls::input<2, 6, 6>, ls::cross_entropy>;
using rows =
    ls::model<ls::sequential<ls::linear<24>, ls::layer_norm<>, ls::relu, ls::residual<ls::linear<24>>, ls::rms_norm<>,
                             ls::linear<5>, ls::relu, ls::flatten, ls::group_norm<5>, ls::linear<3>>,
              ls::input<4, 7>, ls::cross_entropy>;

/// Cuts every shard into micro-shards of two samples.
struct small_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 2;
};

struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, parameters;
};

/// Three steps of five samples: shards of other sizes, and, with four replicas, of one sample.
template <class Model, class Trainer>
trained train(Trainer& trainer) {
  using value = typename Trainer::value_type;
  start_alike(trainer);
  trained result;
  std::uint64_t stream = 10;
  for (int step = 0; step < 3; ++step) {
    const auto drawn = draws<float>(stream++, 5 * Model::input_dims.size());
    const std::vector<value> x(drawn.begin(), drawn.end());
    result.losses.push_back(trainer.step(batch<Model>(x), class_draws(stream++, 5, 3)));
    if (step == 0) result.gradients = as_doubles(trainer.gradients());
  }
  result.parameters = as_doubles(trainer.parameters());
  return result;
}

// So small that no maximum and no relu chooses another element in float than in double.
constexpr ls::sgd optimizer{.learning_rate = 1e-3F, .momentum = 0.9F};

void check_equal(const trained& given, const trained& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.losses.size(); ++i)
    CHECK(is_close(given.losses[i], expected.losses[i], {.relative = tolerance}));
  REQUIRE(given.gradients.size() == expected.gradients.size());
  for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
    INFO("tensor " << p);
    CHECK(relative_difference(given.gradients[p], expected.gradients[p]) <= tolerance);
    CHECK(largest_difference(given.parameters[p], expected.parameters[p]) <=
          tolerance * std::max(1e-2, largest_magnitude(expected.parameters[p])));
  }
}

template <class Model, class B, int... N>
void check_replicas(double tolerance) {
  ls::data_parallel<Model, 1, ls::reference<double>> one(optimizer);
  const trained expected = train<Model>(one);
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    ls::data_parallel<Model, Count, B> trainer(optimizer, {}, {.pin = false});
    check_equal(train<Model>(trainer), expected, tolerance);
  };
  (check.template operator()<N>(), ...);
}

constexpr std::int64_t batches[] = {5, 61, 5};

}  // namespace

TEST_CASE("samples are normalised on replicas as on one device", "[sample_norm]") {
  SECTION("pictures") { check_replicas<pictures, ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("pictures in double precision") { check_replicas<pictures, ls::reference<double>, 2, 3, 4>(1e-12); }
  SECTION("rows") { check_replicas<rows, ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("rows, shards of several micro-shards") { check_replicas<rows, small_passes, 1, 2>(1e-5); }
}

TEST_CASE("normalised samples train to the same bits on 1, 2, 4 and 8 replicas", "[sample_norm]") {
  check_replicas_agree<pictures>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
  check_replicas_agree<rows>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
}
