// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "training.hpp"

namespace {

using namespace lockstep_test;

template <int N>
trained train(const ls::sgd& optimizer, ls::trainer_options options, const std::vector<int>& devices = {}) {
  options.devices = devices;
  return train_classifier<ls::data_parallel<classifier, N, ls::cuda, ls::reduce::reproducible>>(optimizer, options);
}

}  // namespace

// Momentum, clipping, dropout, accumulation, batches smaller than the number of micro-shards.
TEST_CASE("reproducible training on a device has the same bits for any number of replicas", "[reproducible]") {
  LOCKSTEP_NEEDS_DEVICE();
  for (const double max_norm : {0.5, std::numeric_limits<double>::infinity()}) {
    CAPTURE(max_norm);
    const ls::trainer_options options{.max_norm = max_norm};
    const trained one = train<1>(with_momentum, options);
    REQUIRE(std::isfinite(one.losses.back()));
    check_same_bits(train<2>(with_momentum, options), one);
    check_same_bits(train<4>(with_momentum, options), one);
    check_same_bits(train<4>(with_momentum, options), one);  // threads meet in another order
  }
}

#if LOCKSTEP_HAS_NCCL()

TEST_CASE("reproducible training has the same bits on several devices", "[reproducible]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  for (const double max_norm : {0.5, std::numeric_limits<double>::infinity()}) {
    CAPTURE(max_norm);
    const ls::trainer_options options{.max_norm = max_norm};
    const trained one = train<1>(with_momentum, options);
    REQUIRE(std::isfinite(one.losses.back()));
    check_same_bits(train<1>(with_momentum, options, {1}), one);
    check_same_bits(train<2>(with_momentum, options, {0, 1}), one);
    check_same_bits(train<4>(with_momentum, options, {1, 1, 0, 0}), one);
  }
}

#endif
