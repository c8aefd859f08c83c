// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace lockstep_bench {

struct step_times {
  std::size_t steps;
  double median_s;
};

/// Runs steps for `seconds`, after a fifth of that to warm up.
template <class F>
step_times time_steps(double seconds, const F& step) {
  using clock = std::chrono::steady_clock;
  const auto run_for = [&](double limit, std::vector<double>& times) {
    const auto end = clock::now() + std::chrono::duration<double>(limit);
    auto before = clock::now();
    do {
      step();
      const auto now = clock::now();
      times.push_back(std::chrono::duration<double>(now - before).count());
      before = now;
    } while (before < end);
  };
  std::vector<double> times;
  run_for(seconds * 0.2, times);
  times.clear();
  run_for(seconds, times);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return {times.size(), *middle};
}

}  // namespace lockstep_bench
