// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

#include <lockstep/parallel/predictor.hpp>

#include "parallel/parallel_support.hpp"
#include "support/gate.hpp"

namespace lockstep_test {

namespace ls = lockstep;

/// Longer than any machine needs; a test that waits so long has failed.
inline constexpr std::chrono::seconds patience{60};
/// A latency that no test lives to see.
inline constexpr std::chrono::hours never{20};

/// Samples [first, first + count) of a batch.
template <class Model, class T>
auto part_of(const std::vector<T>& values, std::int64_t first, std::int64_t count) {
  using view = ls::tensor_view<const T, ls::batch_shape<Model::input_dims>>;
  return view(values.data() + first * Model::input_dims.size(), count);
}

template <class T, class Shape>
std::vector<T> vector_of(const ls::tensor<T, Shape>& t) {
  return {t.begin(), t.end()};
}

/// The same by another way: one sample at a time on one device, with the parameters of a trainer.
template <class Trainer, class T>
std::vector<T> one_by_one(Trainer& trainer, const std::vector<T>& x) {
  using model = typename Trainer::model_type;
  std::vector<T> all;
  for (std::int64_t s = 0; s < batch<model>(x).extent(0); ++s) {
    const auto y = trainer.forward(part_of<model>(x, s, 1));
    all.insert(all.end(), y.begin(), y.end());
  }
  return all;
}

template <class Future>
bool is_answered(const Future& future, std::chrono::milliseconds within = patience) {
  return future.wait_for(within) == std::future_status::ready;
}

/// Waits until a thread of this process sleeps in the kernel, as one that waits for another does.
inline void await_sleep(pid_t thread) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/stat";
  for (std::string line;; std::this_thread::yield()) {
    std::getline(std::ifstream(path), line);
    const std::size_t name_end = line.rfind(')');
    if (name_end != std::string::npos && line.compare(name_end, 3, ") S") == 0) return;
  }
}

using gated = ls::model<ls::sequential<gate, ls::linear<3>>, ls::input<4>>;

}  // namespace lockstep_test
