// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: other tests' memory would be counted too.
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include <malloc.h>

#include <lockstep/observe/report_data.hpp>

#include "models/resnet20.hpp"
#include "parallel/parallel_support.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

/// \file
/// The memory that training takes, beside what the plan's table says.

#if !LOCKSTEP_TEST_SANITIZED()

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using classifier = ls::model<models::resnet20<10>, ls::input<3, 32, 32>, ls::cross_entropy>;
constexpr std::int64_t batch_size = 128;

/// What the process has touched of its memory that is no file's.
std::int64_t touched_bytes() {
  malloc_trim(0);
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name;) {
    std::int64_t kilobytes = 0;
    if (name == "RssAnon:" && status >> kilobytes) return kilobytes * 1024;
  }
  FAIL("expected RssAnon in /proc/self/status");
  return 0;
}

/// The number in the row `name` of a plan's table.
std::int64_t planned(const std::string& table, const std::string& name) {
  const auto at = table.find("\n" + name + "  ");
  REQUIRE(at != std::string::npos);
  const auto begin = table.find_first_not_of(' ', at + 1 + name.size());
  std::string digits = table.substr(begin, table.find('\n', begin) - begin);
  std::erase(digits, ',');
  return std::stoll(digits);
}

template <int N>
void train_and_check() {
  const std::vector<float> x = draws<float>(1, batch_size * classifier::input_dims.size());
  const std::vector<std::int64_t> targets = class_draws(2, batch_size, 10);
  const std::int64_t before = touched_bytes();
  ls::data_parallel<classifier, N> trainer(ls::sgd{.learning_rate = 0.01F}, {}, {.pin = false});
  for (int i = 0; i < 2; ++i) static_cast<void>(trainer.step(batch<classifier>(x), targets));
  const auto grown = static_cast<double>(touched_bytes() - before);
  const std::string table = ls::plan_table<classifier, ls::cpu>(N, batch_size);
  const std::int64_t all = planned(table, "memory bytes");
  // A report counts the same by category; this run has neither optimizer state nor data.
  std::int64_t reported = 0;
  for (const auto& item : ls::memory_items<classifier, ls::cpu>({.replicas = N, .batch = batch_size}))
    reported += item.bytes;
  CHECK(reported == all);
  INFO(N << " replicas; planned " << all << " bytes, taken " << grown);
  CHECK(all >= N * planned(table, "memory bytes a replica"));
  CHECK(grown >= 0.95 * static_cast<double>(all));
  CHECK(grown <= 1.05 * static_cast<double>(all));
}

}  // namespace

TEST_CASE("a replica takes the memory that the plan predicts", "[resnet20]") {
  // oneDNN writes code for each kind of primitive, which all replicas share and which stays.
  {
    ls::data_parallel<classifier, 4> trainer;
    const std::vector<float> x = draws<float>(1, 256 * classifier::input_dims.size());
    static_cast<void>(trainer.step(batch<classifier>(x), class_draws(2, 256, 10)));
  }
  SECTION("one replica") { train_and_check<1>(); }
  SECTION("four replicas") { train_and_check<4>(); }
}

#endif
