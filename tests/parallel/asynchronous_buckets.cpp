// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <limits>
#include <vector>

#include "parallel/reproducible.hpp"
#include "support/queued_backend.hpp"

// How gradients travel between replicas on devices of their own, on the backend of asynchronous.cpp.

namespace {

using namespace lockstep_test;

using regression =
    ls::model<ls::sequential<ls::linear<8>, ls::relu, ls::frozen<ls::linear<3>>>, ls::input<4>, ls::mean_squared_error>;

constexpr ls::sgd with_momentum{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F};

/// Two replicas on devices of their own, and what they are compared with: the replicas of one device.
template <class Reduction, int OnOne>
void check_buckets(bool ordered) {
  using model = ls::model<ls::sequential<ls::linear<8>, ls::relu, ls::linear<4>, ls::frozen<ls::linear<3>>>,
                          ls::input<4>, ls::mean_squared_error>;
  using trainer_type = ls::data_parallel<model, 2, queued, Reduction, ls::bucket_bytes<64, 64>>;
  constexpr auto buckets = ls::plan_buckets<ls::bucket_bytes<64, 64>>(model::plan<queued>, sizeof(float));
  STATIC_REQUIRE(buckets.count == 2);
  for (const ls::trainer_options& options : {ls::trainer_options{}, {.max_norm = 0.5}}) {
    ls::trainer_options apart = options;
    apart.devices = {0, 1};
    trainer_type given(with_momentum, {}, apart);
    ls::data_parallel<model, OnOne, Reduction> expected(with_momentum, {}, options);
    // Two samples, then one, which leaves a replica without any.
    for (const std::int64_t samples : {5, 5, 5, 1, 1, 1}) {
      const auto x = draws<float>(5, samples * 4);
      const auto t = draws<float>(6, samples * 3);
      const int before = queued_detail::started_sums;
      const int in_order = queued_detail::started_ordered_sums;
      const int shared = queued_detail::started_shared_sums;
      const int replays = queued_detail::replays;
      CHECK(given.step(batch<model>(x), t) == expected.step(batch<model>(x), t));
      const bool replayed = queued_detail::replays > replays;
      const int wanted = replayed ? 0 : 2 * buckets.count;
      CHECK(queued_detail::started_sums - before == wanted);
      CHECK(queued_detail::started_ordered_sums - in_order == (ordered ? wanted : 0));
      // Straight from where backward has written them, unless they have to be measured first; added in order they are
      // sent to others' memory, which no collective has given.
      const bool straight = options.max_norm > 1 && !ordered;
      CHECK(queued_detail::started_shared_sums - shared == (straight ? wanted : 0));
    }
    CHECK(same_bits(all_values(given.parameters()), all_values(expected.parameters())));
  }
  CHECK(queued_detail::held_collectives == 0);
}

}  // namespace

TEST_CASE("gradients leave a device bucket by bucket, and each bucket once in a step", "[asynchronous]") {
  check_buckets<ls::reduce::automatic, 2>(false);
}

TEST_CASE("gradients that are added in order leave a device bucket by bucket too", "[asynchronous]") {
  check_buckets<ls::reduce::reproducible, 1>(true);
  check_buckets<ls::reduce::reproducible, 4>(true);
}

namespace {

/// The replica that a step is said to have failed on, whose last sample has an infinite loss; behind a pass whose
/// gradients it adds up with, when `accumulated`.
template <class Reduction>
int replica_not_finite(bool accumulated) {
  ls::data_parallel<regression, 2, queued, Reduction> trainer(with_momentum, {},
                                                              {.devices = {0, 1}, .non_finite = ls::non_finite::stop});
  const auto x = draws<float>(1, 8 * regression::input_dims.size());
  auto t = draws<float>(2, 8 * regression::output_dims.size());
  if (accumulated) trainer.accumulate(batch<regression>(x), t);
  t.back() = std::numeric_limits<float>::infinity();
  try {
    trainer.step(batch<regression>(x), t);
  } catch (const ls::non_finite_error& e) {
    return e.report().replica;
  }
  return -2;
}

}  // namespace

TEST_CASE("what is not finite is found on the replica that has it", "[asynchronous]") {
  CHECK(replica_not_finite<ls::reduce::automatic>(false) == 1);
  CHECK(replica_not_finite<ls::reduce::automatic>(true) == 1);
  CHECK(replica_not_finite<ls::reduce::reproducible>(false) == 1);
  // Here the sum over the devices has taken the place of each one's own.
  CHECK(replica_not_finite<ls::reduce::reproducible>(true) == -1);
}
