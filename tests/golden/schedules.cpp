// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

const ls::safetensors_file& golden() {
  static const auto file = golden_file("schedules");
  return file;
}

template <class Schedule>
void check_schedule(const std::string& name, const Schedule& schedule) {
  INFO(name);
  static_assert(ls::learning_rate_schedule<Schedule>);
  CHECK_NOTHROW(ls::detail::check_learning_rates(schedule));
  const auto expected = golden().values_f64(name);
  std::vector<double> given;
  for (std::size_t step = 0; step < expected.size(); ++step) given.push_back(schedule(static_cast<std::int64_t>(step)));
  CHECK(largest_difference(given, expected) <= 1e-12);
}

void check_plateau(const std::string& name, ls::schedule::reduce_on_plateau schedule, double sign) {
  INFO(name);
  CHECK_NOTHROW(schedule.check_options());
  std::vector<double> given;
  for (const double metric : golden().values_f64("plateau_metrics")) {
    given.push_back(schedule(static_cast<std::int64_t>(given.size())));
    schedule.observe(sign * metric);
  }
  CHECK(largest_difference(given, golden().values_f64(name)) <= 1e-12);
}

}  // namespace

TEST_CASE("schedules are those of torch.optim.lr_scheduler", "[golden][schedule]") {
  namespace schedule = ls::schedule;
  check_schedule("step", schedule::step{.step_size = 7, .gamma = 0.3});
  check_schedule("multi_step", schedule::multi_step{.milestones = {25, 3, 10}, .gamma = 0.2});
  check_schedule("cosine", schedule::cosine{.steps = 39, .min_factor = 0.05});
  check_schedule("linear", schedule::linear{.steps = 12, .start_factor = 0.25, .end_factor = 0.75});
  check_schedule("one_cycle", schedule::one_cycle{.steps = 40});
  check_schedule(
      "one_cycle_linear",
      schedule::one_cycle{.steps = 40, .pct_start = 0.2, .div_factor = 10, .final_div_factor = 100, .linear = true});
  check_schedule("one_cycle_three_phases", schedule::one_cycle{.steps = 40, .pct_start = 0.4, .three_phase = true});
  check_schedule("warm_up_cosine", schedule::warm_up{7, schedule::cosine{.steps = 33}, 0.1});
}

TEST_CASE("reduce_on_plateau is that of torch.optim.lr_scheduler", "[golden][schedule]") {
  check_plateau("plateau", {.factor = 0.5, .patience = 2, .cooldown = 1, .min_factor = 0.1}, 1);
  check_plateau("plateau_max_abs", {.factor = 0.2, .patience = 1, .threshold = 0.05, .absolute = true, .greater = true},
                -1);
}
