// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "parallel/reproducible.hpp"
#include "support/fuse.hpp"
#include "support/queued_backend.hpp"

#include <lockstep/parallel/trainer/profiler_ranges.hpp>

// What a profiler is shown of a step, on a backend that notes its ranges.

namespace {

using namespace lockstep_test;

/// How often each text was begun, and how many ranges are open.
struct noted_ranges {
  std::mutex mutex;
  std::map<std::string, int> begun;
  int open = 0;
};

noted_ranges& noted() {
  static noted_ranges all;
  return all;
}

struct ranged : queued {
  class range {
   public:
    explicit range(const char* text) noexcept {
      const std::lock_guard lock(noted().mutex);
      ++noted().begun[text];
      ++noted().open;
    }
    range(const range&) = delete;
    range& operator=(const range&) = delete;
    ~range() {
      const std::lock_guard lock(noted().mutex);
      --noted().open;
    }
  };
};

std::map<std::string, int> taken() { return std::exchange(noted().begun, {}); }

using net = ls::sequential<ls::named<"first", ls::linear<8>>, ls::relu, fuse, ls::linear<3>>;
using model = ls::model<net, ls::input<4>, ls::mean_squared_error>;
using trainer_type = ls::data_parallel<model, 2, ranged, ls::bucket_bytes<64, 64>>;
constexpr auto buckets = ls::plan_buckets<ls::bucket_bytes<64, 64>>(model::plan<ranged>, sizeof(float));

}  // namespace

TEST_CASE("a step is shown by layer, bucket and update", "[ranges]") {
  static_assert(buckets.count == 2);
  trainer_type trainer({}, {}, {.devices = {0, 1}});
  const auto x = draws<float>(1, 6 * 4);
  const auto t = draws<float>(2, 6 * 3);
  static_cast<void>(taken());
  trainer.step(batch<model>(x), t);
  const std::map<std::string, int> both{
      {"forward of first", 2},  {"forward of 2", 2},         {"forward of 3", 2},  {"the loss", 2},
      {"backward of first", 2}, {"backward of 2", 2},        {"backward of 3", 2}, {"gradients of bucket 0", 2},
      {"the update", 2},        {"gradients of bucket 1", 2}};
  CHECK(taken() == both);
  CHECK(noted().open == 0);
}

TEST_CASE("a step that fails leaves no range open", "[ranges]") {
  trainer_type trainer({}, {}, {.devices = {0, 1}});
  const auto x = draws<float>(1, 6 * 4);
  const auto t = draws<float>(2, 6 * 3);
  static_cast<void>(taken());
  fuse::calls_left = 1;
  CHECK_THROWS_AS(trainer.step(batch<model>(x), t), ls::replica_error);
  CHECK(taken().contains("forward of 2"));
  CHECK(noted().open == 0);
}

TEST_CASE("labels are cut, never broken", "[ranges]") {
  ls::detail::label long_one;
  long_one.append(std::string(120, 'x')).append(1234567890);
  CHECK(std::string(long_one.c_str()) == std::string(120, 'x') + "1234567");
  constexpr auto number = ls::detail::label().append("bucket ").append(907);
  STATIC_REQUIRE(std::string_view(number.c_str()) == "bucket 907");
}
