// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Defects that other data-parallel systems have or had, each as a test that it is not here. The others of this kind
// have their place elsewhere: inputs by name for more replicas than samples in split_named.cpp, buckets on their way
// while backward runs in bucket.cpp, ranks that do not come in tests/comm/threads_failures.cpp.

#include <array>
#include <cstdint>
#include <vector>

#include "parallel/rank_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using net = ls::sequential<ls::linear<16>, ls::relu, ls::dropout<0.2>, ls::linear<6>>;
using classifier = ls::model<net, ls::input<9>, ls::cross_entropy>;
constexpr ls::sgd momentum{.learning_rate = 0.2F, .momentum = 0.9F};

}  // namespace

// dlib: a device without samples skips its update, and its gradients of an earlier step enter the mean.
TEST_CASE("a replica without samples adds nothing of an earlier step", "[defects]") {
  ls::data_parallel<classifier, 1> one(momentum);
  ls::data_parallel<classifier, 4> four(momentum);
  std::uint64_t stream = 1;
  for (const std::int64_t samples : {8, 2, 1, 3, 9, 2}) {
    const piece each = drawn<classifier>(stream++, samples);
    CHECK(step_on(four, each) == Approx(step_on(one, each)).epsilon(1e-5));
    check_close(all_values(four.gradients()), all_values(one.gradients()));
    check_close(all_values(four.parameters()), all_values(one.parameters()));
  }
}

// libtorch: as many modules as devices meet fewer chunks, and the call throws; what replicas learn is lost.
TEST_CASE("fewer samples than replicas are gathered in order, and what replicas learn stays", "[defects]") {
  ls::data_parallel<classifier, 1> one(momentum);
  ls::data_parallel<classifier, 8> eight(momentum);
  const piece few = drawn<classifier>(1, 3);
  const auto before = all_values(eight.parameters());
  const auto expected = one.forward(batch<classifier>(few.x)), given = eight.forward(batch<classifier>(few.x));
  CHECK(relative_difference(std::vector<float>(given.begin(), given.end()),
                            std::vector<float>(expected.begin(), expected.end())) <= tolerance<float>);
  step_on(eight, few);
  CHECK_FALSE(same_bits(all_values(eight.parameters()), before));
}

// DistributedDataParallel: one way to keep gradients multiplies by 1 / world, the other divides, so that the way
// changes bits when the number of ranks is no power of two.
TEST_CASE("the sizes of buckets change no bit for any number of ranks", "[defects]") {
  const auto train = []<class Sizes>(Sizes) {
    std::array<std::vector<std::vector<float>>, 3> values;
    check_no_failure(run_ranks(3, [&](thread_rank& rank) {
      const int r = rank.rank();
      ls::data_parallel<classifier, 2, thread_rank, Sizes> trainer(momentum, std::move(rank));
      for (std::uint64_t s = 0; s < 4; ++s) step_on(trainer, cut<classifier>(drawn<classifier>(s, 21), 7 * r, 7));
      values[static_cast<std::size_t>(r)] = all_values(trainer.parameters());
    }));
    CHECK(same_bits(values[1], values[0]));
    CHECK(same_bits(values[2], values[0]));
    return values[0];
  };
  const auto whole = train(ls::bucket_bytes<(1 << 20), (1 << 20)>{});
  CHECK(same_bits(train(ls::bucket_bytes<4, 4>{}), whole));
  CHECK(same_bits(train(ls::bucket_bytes<300, 100>{}), whole));
}

// llm.c: random numbers are keyed by the rank, so that ranks drift apart.
TEST_CASE("random numbers are keyed by the sample, not by the replica or rank that has it", "[defects]") {
  ls::data_parallel<classifier, 1> one(momentum);
  const piece whole = drawn<classifier>(1, 24);
  const double first = step_on(one, whole), second = step_on(one, whole);
  for (const int world : {2, 3, 4})
    check_no_failure(run_ranks(world, [&](thread_rank& rank) {
      const std::int64_t part = 24 / rank.size(), r = rank.rank();
      ls::data_parallel<classifier, 2, thread_rank> trainer(momentum, std::move(rank));
      const piece own = cut<classifier>(whole, part * r, part);
      // Dropout of 0.2 with other draws would be far off.
      expect(is_close(step_on(trainer, own), first, {.relative = 1e-5}));
      expect(is_close(step_on(trainer, own), second, {.relative = 1e-5}));
      expect_close(all_values(trainer.parameters()), all_values(one.parameters()));
    }));
}
