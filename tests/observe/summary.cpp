// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/summary.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using ls::activity;

// A time far from zero, as a steady clock shows it.
constexpr std::int64_t start = 77'000'000'000'000;

ls::timeline_event event(std::int64_t begin, std::int64_t end, activity what, int index = -1, int step = 0) {
  return {.begin = start + begin,
          .end = start + end,
          .step = step,
          .index = static_cast<std::int16_t>(index),
          .what = what};
}

const ls::phase_time* find(const ls::timeline_summary& all, activity what, int index) {
  for (const auto& phase : all.phases)
    if (phase.what == what && phase.index == index) return &phase;
  return nullptr;
}

using small = ls::model<ls::sequential<ls::named<"conv1", ls::conv2d<4, 3>>, ls::relu, ls::flatten,
                                       ls::named<"fc", ls::linear<4 * 4 * 4, 10>>>,
                        ls::input<2, 6, 6>, ls::cross_entropy>;

}  // namespace

TEST_CASE("a summary of nothing is zero") {
  const ls::timeline empty(3, 4);
  const auto all = ls::summarize(empty);
  CHECK(all.seconds == 0);
  CHECK(all.steps == 0);
  CHECK(all.dropped == 0);
  CHECK(all.phases.empty());
  CHECK(all.communication == 0);
  CHECK(all.overlap == 0);
  CHECK(all.imbalance == 0);
  REQUIRE(all.replicas.size() == 3);
  for (const auto& r : all.replicas) CHECK(r.busy + r.communicate + r.update + r.wait + r.idle == 0);
}

TEST_CASE("a summary shares out the recorded time") {
  ls::timeline t(2, 16);
  // 1000 ns: replica 0 computes 500, replica 1 computes 400.
  t.record(0, event(0, 100, activity::forward, 0));
  t.record(0, event(100, 120, activity::loss));
  t.record(0, event(120, 420, activity::backward, 0));
  t.record(0, event(420, 500, activity::fold));
  t.record(0, event(500, 650, activity::wait));
  t.record(0, event(650, 700, activity::update));
  t.record(1, event(50, 450, activity::forward, 0));
  t.record(1, event(450, 650, activity::wait));
  t.record(1, event(650, 750, activity::update));
  t.record(1, event(900, 1000, activity::communicate, 0, 1));
  const auto all = ls::summarize(t);
  CHECK(all.seconds == Approx(1e-6));
  CHECK(all.steps == 2);
  REQUIRE(all.replicas.size() == 2);
  CHECK(all.replicas[0].busy == Approx(0.5));
  CHECK(all.replicas[0].wait == Approx(0.15));
  CHECK(all.replicas[0].update == Approx(0.05));
  CHECK(all.replicas[0].communicate == 0);
  CHECK(all.replicas[0].idle == Approx(0.3));
  CHECK(all.replicas[1].busy == Approx(0.4));
  CHECK(all.replicas[1].wait == Approx(0.2));
  CHECK(all.replicas[1].update == Approx(0.1));
  CHECK(all.replicas[1].communicate == Approx(0.1));
  CHECK(all.replicas[1].idle == Approx(0.2));
  CHECK(all.imbalance == Approx((500.0 - 400.0) / 500.0));
  CHECK(all.communication == Approx(100e-9));
  CHECK(all.overlap == 0);
}

TEST_CASE("a summary has the mean of each node and phase") {
  ls::timeline t(2, 8);
  t.record(0, event(0, 10, activity::forward, 2));
  t.record(0, event(10, 40, activity::forward, 2));
  t.record(1, event(0, 50, activity::forward, 2));
  t.record(1, event(50, 57, activity::backward, 2));
  t.record(1, event(57, 60, activity::loss));
  const auto all = ls::summarize(t);
  REQUIRE(all.phases.size() == 3);
  const auto* forward = find(all, activity::forward, 2);
  REQUIRE(forward != nullptr);
  CHECK(forward->calls == 3);
  CHECK(forward->seconds == Approx(90e-9));
  CHECK(forward->mean() == Approx(30e-9));
  const auto* backward = find(all, activity::backward, 2);
  REQUIRE(backward != nullptr);
  CHECK(backward->calls == 1);
  CHECK(backward->mean() == Approx(7e-9));
  const auto* loss = find(all, activity::loss, -1);
  REQUIRE(loss != nullptr);
  CHECK(loss->mean() == Approx(3e-9));
  CHECK(ls::phase_time{}.mean() == 0);
}

TEST_CASE("communication is hidden as far as replicas compute beside it") {
  ls::timeline t(3, 8);
  t.record(0, event(0, 100, activity::backward, 0));
  t.record(1, event(0, 50, activity::backward, 0));
  t.record(1, event(50, 200, activity::wait));
  // Two buckets that overlap count once: 40 to 120.
  t.record(2, event(40, 90, activity::communicate, 1));
  t.record(2, event(80, 120, activity::communicate, 0));
  CHECK(ls::replica_tracks(t) == 2);
  const auto all = ls::summarize(t);
  REQUIRE(all.replicas.size() == 2);
  CHECK(all.communication == Approx(80e-9));
  CHECK(all.overlap == Approx((60.0 / 80 + 10.0 / 80) / 2));

  // Computing in several pieces hides the same as in one.
  ls::timeline pieces(2, 8);
  for (const int begin : {0, 20, 40, 60}) pieces.record(0, event(begin, begin + 10, activity::forward, begin / 20));
  pieces.record(1, event(5, 65, activity::communicate, 0));
  CHECK(ls::summarize(pieces).overlap == Approx(30.0 / 60));
}

TEST_CASE("a last track is communication only when it holds nothing else") {
  ls::timeline t(3, 4);
  CHECK(ls::replica_tracks(t) == 3);
  t.record(2, event(0, 1, activity::communicate, 0));
  CHECK(ls::replica_tracks(t) == 2);
  t.record(2, event(1, 2, activity::update));
  CHECK(ls::replica_tracks(t) == 3);
  ls::timeline one(1, 4);
  one.record(0, event(0, 1, activity::communicate, 0));
  CHECK(ls::replica_tracks(one) == 1);
  CHECK(ls::summarize(t, 2).replicas.size() == 2);
  CHECK_THROWS_AS(ls::summarize(t, 4), ls::value_error);
  CHECK_THROWS_AS(ls::summarize(t, -1), ls::value_error);
}

TEST_CASE("what follows a full track does not count as idle time") {
  ls::timeline t(2, 2);
  t.record(0, event(0, 100, activity::forward, 0));
  t.record(0, event(100, 200, activity::backward, 0));
  t.record(0, event(200, 300, activity::update));  // no room
  t.record(1, event(0, 150, activity::forward, 0));
  t.record(1, event(150, 400, activity::backward, 0));
  const auto all = ls::summarize(t);
  CHECK(all.dropped == 1);
  CHECK(all.seconds == Approx(200e-9));
  CHECK(all.replicas[0].busy == Approx(1));
  CHECK(all.replicas[1].busy == Approx(1));
  CHECK(all.replicas[0].idle == Approx(0).margin(1e-12));
  CHECK(all.imbalance == Approx(0).margin(1e-12));
}

TEST_CASE("of several full tracks the one that stops first ends what is known") {
  for (const int first : {0, 1}) {
    ls::timeline t(2, 1);
    t.record(first, event(0, 100, activity::forward, 0));
    t.record(1 - first, event(0, 200, activity::forward, 0));
    for (int track : {0, 1}) t.record(track, event(200, 300, activity::update));  // no room
    const auto all = ls::summarize(t);
    INFO("track " << first << " stops first");
    CHECK(all.dropped == 2);
    CHECK(all.seconds == Approx(100e-9));
    CHECK(all.replicas[0].busy == Approx(1));
    CHECK(all.replicas[1].busy == Approx(1));
  }
}

TEST_CASE("the steps are those of the replica that has recorded most") {
  for (const int busy : {0, 1}) {
    ls::timeline t(2, 8);
    for (int step = 0; step < 5; ++step) t.record(busy, event(step, step + 1, activity::forward, 0, step));
    for (int step = 0; step < 2; ++step) t.record(1 - busy, event(step, step + 1, activity::forward, 0, step));
    CHECK(ls::summarize(t).steps == 5);
  }
}

TEST_CASE("steps are counted however they are numbered") {
  ls::timeline t(1, 16);
  for (const int step : {7, 7, 8, 0, 0, 1}) t.record(0, event(step, step + 1, activity::forward, 0, step));
  CHECK(ls::summarize(t).steps == 4);
}

TEST_CASE("the rows of a plan carry PyTorch's names and what a node works") {
  const auto rows = ls::plan_rows<small, ls::cpu>();
  constexpr const auto& plan = small::plan<ls::cpu>;
  REQUIRE(static_cast<int>(rows.size()) == plan.node_count);
  std::int64_t parameters = 0;
  std::int64_t forward = 0;
  std::int64_t both = 0;
  bool convolution = false;
  for (const auto& row : rows) {
    parameters += row.parameters;
    forward += row.forward_flops;
    both += row.forward_flops + row.backward_flops;
    if (row.layer == "conv1") {
      convolution = true;
      CHECK(row.name() == "conv1");
      CHECK(row.kind == "conv2d+relu");
      CHECK(row.sample == "2x6x6 -> 4x4x4");
      CHECK(row.parameters == 4 * 2 * 9 + 4);
      CHECK(row.parameter_bytes == 4 * row.parameters);
      CHECK(row.output_bytes == 4 * 4 * 4 * 4);
      CHECK(row.backward_flops == row.forward_flops);  // of the weights alone: nothing to learn before it
    }
    if (row.layer.empty()) CHECK(row.name() == row.kind);
  }
  CHECK(convolution);
  CHECK(rows.back().layer == "fc");
  CHECK(rows.back().forward_flops == 2 * 64 * 10);
  CHECK(rows.back().backward_flops == 2 * rows.back().forward_flops);
  CHECK(parameters == 76 + 64 * 10 + 10);
  CHECK(forward == plan.forward_flops);
  CHECK(both == plan.training_flops);
}
