// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "parallel/branch_networks.hpp"
#include "parallel/reproducible.hpp"
#include "support/queued_backend.hpp"

using namespace lockstep_test;

namespace {

/// Sizes that come again, so that work is replayed, and a larger one in between, for which buffers move.
constexpr std::array<std::int64_t, 6> sizes{13, 5, 13, 13, 24, 13};
constexpr lockstep::sgd with_momentum{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F};

template <class Model, int N, class... Policies>
trained_bits train() {
  lockstep::data_parallel<Model, N, Policies...> trainer(with_momentum);
  trainer.initialize(lockstep::seed{11});
  trained_bits bits;
  std::uint32_t stream = 900;
  for (std::size_t i = 0; i < 3 * sizes.size(); ++i) {
    const std::int64_t samples = sizes[i % sizes.size()];
    const auto x = draws<float>(stream++, samples * Model::input_dims.size());
    const auto targets = class_draws(stream++, samples, 5);
    bits.losses.push_back(i % 5 == 2 ? trainer.accumulate(batch<Model>(x), targets)
                                     : trainer.step(batch<Model>(x), targets));
    bits.gradients = all_values(trainer.gradients());
  }
  bits.parameters = all_values(trainer.parameters());
  return bits;
}

template <class Model, int N>
void check_queued() {
  const auto expected = train<Model, N>();
  REQUIRE(std::isfinite(expected.losses.back()));
  const int before = queued_detail::replays;
  check_same_bits(train<Model, N, queued>(), expected);
  CHECK(queued_detail::replays > before);
}

}  // namespace

TEST_CASE("networks with branches train on an asynchronous backend to the bits of the CPU's", "[asynchronous][graph]") {
  SECTION("residual") { check_queued<residual_classifier, 2>(); }
  SECTION("concat") { check_queued<unet_classifier, 2>(); }
  SECTION("tied") { check_queued<tied_classifier, 2>(); }
}
