// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/parallel/bucket.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include "parallel/rank_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

// Parameters: 110, 110, 110, 22, without gaps.
using deep =
    ls::sequential<ls::linear<10>, ls::relu, ls::linear<10>, ls::relu, ls::linear<10>, ls::relu, ls::linear<2>>;
using model = ls::model<deep, ls::input<10>, ls::cross_entropy>;

template <class Sizes>
constexpr auto buckets_of = ls::plan_buckets<Sizes>(model::plan<ls::cpu>, sizeof(float));

/// Buckets cover all elements once, from the last to the first, and each is ready when its first layer's backward has
/// run, which no other bucket is.
template <class Plan>
void check_cover(const Plan& plan) {
  std::int64_t end = model::parameter_count;
  for (int b = 0; b < plan.count; ++b) {
    const ls::bucket& each = plan.buckets[static_cast<std::size_t>(b)];
    CHECK(each.last == end);
    CHECK(each.size() > 0);
    end = each.first;
    REQUIRE(each.node >= 0);
    CHECK(model::plan<ls::cpu>.nodes[static_cast<std::size_t>(each.node)].parameter_offset == each.first);
    CHECK(plan.ready[static_cast<std::size_t>(each.node)] == b);
  }
  CHECK(end == 0);
  int ready = 0;
  for (const int b : plan.ready) ready += b >= 0 ? 1 : 0;
  CHECK(ready == plan.count);
}

/// Remembers what it was called with, and sums.
struct recording_hook {
  struct call {
    int index;
    std::ptrdiff_t size;
    std::vector<ls::bucket_tensor> tensors;
  };
  std::vector<call> calls{};

  template <ls::communicator C>
  void operator()(C& c, const ls::bucket_view& bucket) {
    calls.push_back({bucket.index, std::ssize(bucket.gradients), {bucket.tensors.begin(), bucket.tensors.end()}});
    c.all_reduce(bucket.gradients);
  }
};

}  // namespace

TEST_CASE("buckets are closed in backward order, once they have reached their size", "[bucket]") {
  constexpr auto whole = buckets_of<ls::bucket_bytes<(1 << 20), (1 << 20)>>;
  STATIC_REQUIRE(whole.count == 1);
  STATIC_REQUIRE(whole.buckets[0].size() == model::parameter_count);

  constexpr auto each = buckets_of<ls::bucket_bytes<4, 4>>;
  STATIC_REQUIRE(each.count == 4);
  STATIC_REQUIRE(each.buckets[0].size() == 22);
  STATIC_REQUIRE(each.buckets[3].size() == 110);

  // 88 bytes close the first; 440 are short of 600, 880 are not; what is left is the last.
  constexpr auto some = buckets_of<ls::bucket_bytes<600, 80>>;
  STATIC_REQUIRE(some.count == 3);
  STATIC_REQUIRE(some.buckets[0].size() == 22);
  STATIC_REQUIRE(some.buckets[1].size() == 220);
  STATIC_REQUIRE(some.buckets[2].size() == 110);

  // An eighth would be 176 bytes; a bucket is 64 KiB at least.
  STATIC_REQUIRE(buckets_of<ls::bucket_bytes<>>.count == 1);

  check_cover(whole);
  check_cover(each);
  check_cover(some);
}

TEST_CASE("the default size of a bucket is an eighth of the gradients, within bounds", "[bucket]") {
  using sizes = ls::bucket_bytes<>;
  STATIC_REQUIRE(sizes::limit(1 << 10, 1) == 64 << 10);
  STATIC_REQUIRE(sizes::limit(8 << 20, 1) == 1 << 20);
  STATIC_REQUIRE(sizes::limit(8 << 20, 0) == 1 << 18);
  STATIC_REQUIRE(sizes::limit(std::int64_t{1} << 32U, 1) == 25 << 20);
}

TEST_CASE("a hook sees every bucket of a step in order, with its tensors as matrices", "[bucket]") {
  check_no_failure(run_ranks(2, [](thread_rank& rank) {
    ls::data_parallel<model, 2, thread_rank, ls::bucket_bytes<600, 80>, recording_hook> trainer({}, std::move(rank));
    step_on(trainer, drawn<model>(1, 6));
    step_on(trainer, drawn<model>(2, 6));
    const auto& calls = trainer.hook().calls;
    expect(calls.size() == 6);
    for (std::size_t i = 0; i < calls.size(); ++i) {
      expect(calls[i].index == static_cast<int>(i % 3));
      expect(calls[i].size == std::array{22, 220, 110}[i % 3]);
      std::int64_t end = 0;
      for (const ls::bucket_tensor& tensor : calls[i].tensors) {
        expect(tensor.offset == end);
        end += tensor.size();
      }
      expect(end == calls[i].size);
    }
    const auto& last = calls[2].tensors;
    expect(last.size() == 2);
    expect(last[0].rows * last[0].columns == 100 && last[1].rows == 10 && last[1].columns == 1);
  }));
}

TEST_CASE("a timeline shows buckets on their way while backward still runs", "[bucket][timeline]") {
  check_no_failure(run_ranks(2, [](thread_rank& rank) {
    ls::timeline short_one(1, 10), recorded(3, 1000);
    ls::data_parallel<model, 2, thread_rank, ls::bucket_bytes<4, 4>> trainer({}, std::move(rank));
    expect_contains(message_of<ls::value_error>([&] { trainer.record(&short_one); }), "a timeline of 3 tracks");
    trainer.record(&recorded);
    step_on(trainer, drawn<model>(1, 600));
    trainer.record(nullptr);
    step_on(trainer, drawn<model>(1, 600));

    const auto communicated = recorded.events(2);
    expect(communicated.size() == 4);
    for (std::size_t b = 0; b < 4; ++b) {
      expect(communicated[b].what == ls::activity::communicate && communicated[b].index == static_cast<int>(b));
      expect(communicated[b].begin <= communicated[b].end && communicated[b].step == 0);
      if (b > 0) expect(communicated[b - 1].end <= communicated[b].begin);
    }
    for (int r = 0; r < 2; ++r) {
      std::array<int, 7> seen{};
      std::int64_t first_backward_end = 0;
      for (const ls::timeline_event& event : recorded.events(r)) {
        ++seen[static_cast<std::size_t>(event.what)];
        expect(event.begin <= event.end);
        if (event.what == ls::activity::backward && first_backward_end == 0) first_backward_end = event.end;
      }
      expect(seen[static_cast<std::size_t>(ls::activity::forward)] >= 4);
      expect(seen[static_cast<std::size_t>(ls::activity::backward)] >= 4);
      expect(seen[static_cast<std::size_t>(ls::activity::loss)] >= 1);
      expect(seen[static_cast<std::size_t>(ls::activity::wait)] == 1);
      expect(seen[static_cast<std::size_t>(ls::activity::update)] == 1);
      // The first bucket waits for the last layer's backward on both replicas, and for no more.
      expect(communicated[0].begin >= first_backward_end);
    }
  }));
}
