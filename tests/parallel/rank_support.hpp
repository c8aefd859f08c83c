// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/comm/threads.hpp>

#include "comm/ranks.hpp"
#include "parallel/reproducible.hpp"

/// \file
/// Trainers that are ranks of a group of threads.

namespace lockstep_test {

using comm_test::contains;
using comm_test::run_ranks;

/// A part of a batch.
struct piece {
  std::vector<float> x;
  std::vector<std::int64_t> targets;
};

/// Samples first .. first + count - 1.
template <class Model>
piece cut(const piece& all, std::int64_t first, std::int64_t count) {
  const std::int64_t size = Model::input_dims.size();
  return {{all.x.begin() + first * size, all.x.begin() + (first + count) * size},
          {all.targets.begin() + first, all.targets.begin() + first + count}};
}

template <class Model>
piece drawn(std::uint64_t stream, std::int64_t samples) {
  return {draws<float>(stream, samples * Model::input_dims.size()),
          class_draws(stream + 1000, samples, static_cast<std::uint32_t>(Model::output_dims.size()))};
}

template <class Trainer>
double step_on(Trainer& trainer, const piece& p) {
  return trainer.step(batch<typename Trainer::model_type>(p.x), p.targets);
}

/// A check inside a rank's thread, where Catch's own may not be used: throws, and so ends the test case.
inline void expect(bool holds, std::string_view what = {}, int line = __builtin_LINE()) {
  if (!holds) throw std::logic_error("line " + std::to_string(line) + " does not hold; " + std::string(what));
}

/// `expect` that a text has a part.
inline void expect_contains(const std::string& text, const std::string& part, int line = __builtin_LINE()) {
  expect(contains(text, part), "looked for: " + part + "; found: " + text, line);
}

/// `expect` that tensors are equal but for the rounding of a sum in another order.
inline void expect_close(const std::vector<std::vector<float>>& given, const std::vector<std::vector<float>>& expected,
                         int line = __builtin_LINE()) {
  expect(given.size() == expected.size(), "as many tensors", line);
  for (std::size_t p = 0; p < given.size(); ++p) {
    const double difference = relative_difference(given[p], expected[p]);
    expect(difference <= tolerance<float>, "tensor " + std::to_string(p) + " differs by " + std::to_string(difference),
           line);
  }
}

/// Every rank's message is empty: nothing was thrown.
inline void check_no_failure(const std::vector<std::string>& messages) {
  for (std::size_t r = 0; r < messages.size(); ++r) {
    INFO("rank " << r << ": " << messages[r]);
    CHECK(messages[r].empty());
  }
}

}  // namespace lockstep_test
