// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/report.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "support/catch.hpp"

/// \file
/// What a report shows on both sides of a limit.

namespace {

namespace ls = lockstep;

using network = ls::model<ls::sequential<ls::linear<5>, ls::relu, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

int lines_of(std::size_t losses) {
  ls::report_data data;
  for (std::size_t i = 0; i < losses; ++i) data.losses.push_back(2 - 0.01 * static_cast<double>(i));
  return count(ls::report_html(data), "<path class=\"line");
}

/// A replica that computes in node 0 for a millisecond.
ls::report_data recorded() {
  ls::timeline times(1, 8);
  times.record(0, {.begin = 0, .end = 1'000'000, .step = 0, .index = 0, .what = ls::activity::forward});
  auto data = ls::make_report_data<network, ls::cpu>(times, {.replicas = 1, .batch = 8});
  data.recorded_samples = 8;
  return data;
}

}  // namespace

TEST_CASE("a moving average is drawn from a hundred losses on") {
  CHECK(lines_of(99) == 1);
  CHECK(lines_of(100) == 2);
  CHECK(lines_of(101) == 2);
}

TEST_CASE("the speed of nodes is left out when events are missing or samples unknown") {
  auto data = recorded();
  CHECK(count(ls::report_html(data), "GFLOP/s") > 0);
  SECTION("an event found no room") {
    data.times.dropped = 1;
    CHECK(count(ls::report_html(data), "GFLOP/s") == 0);
  }
  SECTION("nobody counted the samples") {
    data.recorded_samples = 0;
    CHECK(count(ls::report_html(data), "GFLOP/s") == 0);
  }
}

TEST_CASE("activations are counted for the samples that replicas hold, whether or not they divide the batch") {
  constexpr std::int64_t sample = 4 * network::plan<ls::cpu>.arena_size;
  constexpr std::int64_t most = ls::micro_shard<network, ls::cpu>;
  const auto activations = [](int replicas, std::int64_t batch) {
    return ls::memory_items<network, ls::cpu>({.replicas = replicas, .batch = batch}).at(3);
  };
  CHECK(activations(1, 1).name == "activations");
  for (const int replicas : {1, 2, 3, 4, 7})
    for (const std::int64_t batch : {1, 2, 5, 7, 8, 9, 64}) {
      INFO(batch << " samples over " << replicas << " replicas");
      REQUIRE(batch <= most);
      CHECK(activations(replicas, batch).bytes == batch * sample);
    }
  // A shard that is larger than a micro-shard is computed in several, one after the other.
  CHECK(activations(1, 10 * most).bytes == most * sample);
  CHECK(activations(2, most + 3).bytes == (most + 3) * sample);
  CHECK(activations(2, 2 * most + 1).bytes == 2 * most * sample);
}
