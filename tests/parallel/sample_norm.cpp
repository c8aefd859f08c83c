// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include <lockstep/nn/group_norm.hpp>
#include <lockstep/nn/layer_norm.hpp>
#include <lockstep/nn/rms_norm.hpp>

#include "parallel/short_runs.hpp"

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

// So small that no maximum and no relu chooses another element in float than in double.
constexpr ls::sgd optimizer{.learning_rate = 1e-3F, .momentum = 0.9F};

// Shards of other sizes, and, with four replicas, of one sample.
template <class Model, class B, int... N>
void check_replicas(double tolerance) {
  short_runs::check_replicas<Model, B, N...>(optimizer, {5, 5, 5}, tolerance);
}

constexpr std::int64_t batches[] = {5, 61, 5};

}  // namespace

TEST_CASE("samples are normalised on replicas as on one device", "[sample_norm]") {
  SECTION("pictures") { check_replicas<pictures, ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("pictures in double precision") { check_replicas<pictures, ls::reference<double>, 2, 3, 4>(1e-12); }
  SECTION("rows") { check_replicas<rows, ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("rows, shards of several micro-shards") { check_replicas<rows, short_runs::small_passes, 1, 2>(1e-5); }
}

TEST_CASE("normalised samples train to the same bits on 1, 2, 4 and 8 replicas", "[sample_norm]") {
  check_replicas_agree<pictures>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
  check_replicas_agree<rows>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
}
