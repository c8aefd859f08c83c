// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/parallel/ranks/bucket.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/comm/simulated_link.hpp>

#include "parallel/rank_support.hpp"
#include "support/sanitized.hpp"

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

  // Exactly full: 88 bytes, and then 440 each.
  constexpr auto full = buckets_of<ls::bucket_bytes<440, 88>>;
  STATIC_REQUIRE(full.count == 4);
  STATIC_REQUIRE(full.buckets[0].size() == 22);
  STATIC_REQUIRE(full.buckets[1].size() == 110);
  check_cover(full);
  // One byte short.
  STATIC_REQUIRE(buckets_of<ls::bucket_bytes<441, 88>>.buckets[1].size() == 220);
  STATIC_REQUIRE(buckets_of<ls::bucket_bytes<441, 89>>.buckets[0].size() == 132);

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

TEST_CASE("a schedule of buckets is the best one for the link", "[bucket]") {
  const std::vector<double> ready{1, 2, 3, 4};
  const std::vector<std::int64_t> bytes{100, 100, 100, 100};
  // A free link: all is sent at once at the end, in the fewest messages.
  CHECK(ls::schedule_buckets(ready, bytes, {}) == ls::bucket_schedule{3});
  // As fast as buckets come, and without latency: each as soon as it is ready.
  CHECK(ls::schedule_buckets(ready, bytes, {.seconds_per_byte = 0.009}) == ls::bucket_schedule{0, 1, 2, 3});
  // So slow that all wait behind the first.
  CHECK(ls::schedule_buckets(ready, bytes, {.seconds_per_byte = 0.1}) == ls::bucket_schedule{0, 3});
  // Nothing but latency.
  CHECK(ls::schedule_buckets(ready, bytes, {.latency = 5}) == ls::bucket_schedule{3});
  // Against all 2^9 schedules of ten buckets.
  for (std::uint64_t stream = 0; stream < 20; ++stream) {
    auto when = draws<double>(stream, 10);
    std::sort(when.begin(), when.end());
    for (double& t : when) t += 2;
    std::vector<std::int64_t> sizes;
    for (const auto c : class_draws(100 + stream, 10, 1000)) sizes.push_back(c + 1);
    const ls::link_cost link{.latency = 0.02 * static_cast<double>(stream), .seconds_per_byte = 4e-4};
    double best = 1e9;
    for (unsigned cuts = 0; cuts < 512; ++cuts) {
      ls::bucket_schedule schedule;
      for (int b = 0; b < 9; ++b)
        if ((cuts >> static_cast<unsigned>(b)) & 1U) schedule.push_back(b);
      schedule.push_back(9);
      best = std::min(best, ls::predicted_end(schedule, when, sizes, link));
    }
    CHECK(ls::predicted_end(ls::schedule_buckets(when, sizes, link), when, sizes, link) == Approx(best));
  }
}

TEST_CASE("buckets that travel together change what a hook sees, and no bit", "[bucket]") {
  std::array<std::vector<std::vector<float>>, 2> values;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const auto r = static_cast<std::size_t>(rank.rank());
    ls::data_parallel<model, 2, thread_rank, ls::bucket_bytes<4, 4>, recording_hook> trainer({}, std::move(rank));
    for (const ls::bucket_schedule& wrong : {ls::bucket_schedule{}, {2}, {1, 1, 3}, {3, 2}, {4}})
      expect_contains(message_of<ls::value_error>([&] { trainer.set_bucket_schedule(wrong); }), "end with 4 - 1");
    trainer.set_bucket_schedule({1, 3});
    for (std::uint64_t s = 0; s < 3; ++s) step_on(trainer, drawn<model>(s, 6));
    const auto& calls = trainer.hook().calls;
    expect(calls.size() == 6 && calls[0].size == 132 && calls[1].size == 220);
    expect(calls[0].index == 0 && calls[1].index == 1 && calls[0].tensors.size() == 4);
    std::int64_t end = 0;
    for (const ls::bucket_tensor& tensor : calls[0].tensors) {
      expect(tensor.offset == end);
      end += tensor.size();
    }
    expect(end == 132);
    values[r] = all_values(trainer.parameters());
  }));
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const auto r = static_cast<std::size_t>(rank.rank());
    ls::data_parallel<model, 2, thread_rank, ls::bucket_bytes<4, 4>> trainer({}, std::move(rank));
    for (std::uint64_t s = 0; s < 3; ++s) step_on(trainer, drawn<model>(s, 6));
    expect(same_bits(all_values(trainer.parameters()), values[r]));
  }));
}

TEST_CASE("buckets are calibrated to the link, alike on all ranks", "[bucket]") {
  // Milliseconds of backward a layer, with or without a sanitizer, and 4.3 or 0.5 MB of gradients.
  constexpr std::int64_t width = LOCKSTEP_TEST_SANITIZED() ? 200 : 600;
  constexpr std::int64_t samples = LOCKSTEP_TEST_SANITIZED() ? 40 : 200;
  using wide = ls::model<ls::sequential<ls::linear<width>, ls::relu, ls::linear<width>, ls::relu, ls::linear<width>>,
                         ls::input<width>, ls::cross_entropy>;
  using link = ls::simulated_link<thread_rank>;
  const auto calibrated = [](const ls::link_options& options) {
    std::array<ls::bucket_schedule, 2> schedules;
    check_no_failure(run_ranks(2, [&](thread_rank& rank) {
      const auto r = static_cast<std::size_t>(rank.rank());
      ls::data_parallel<wide, 1, link, ls::bucket_bytes<4, 4>> trainer({}, link(std::move(rank), options));
      const auto before = all_values(trainer.parameters());
      const piece own = drawn<wide>(1, samples);
      schedules[r] = trainer.calibrate_buckets(batch<wide>(own.x), own.targets);
      expect(same_bits(all_values(trainer.parameters()), before) && trainer.steps() == 0);
      step_on(trainer, own);
    }));
    CHECK(schedules[0] == schedules[1]);
    return schedules[0];
  };
  // Seconds of latency are worse than any wait. Without any, what leaves early hides behind backward.
  CHECK(calibrated({.latency = 0.1, .world = 10}) == ls::bucket_schedule{2});
  CHECK(calibrated({.bandwidth = 2e9, .world = 2}).size() > 1);
}
