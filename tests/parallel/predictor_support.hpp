// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <string_view>
#include <thread>
#include <vector>

#include <lockstep/parallel/predictor.hpp>

#include "parallel/parallel_support.hpp"
#include "support/user_layer.hpp"

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

inline std::atomic<int> held{0};           ///< passes inside the gate
inline std::atomic<bool> gate_open{true};  ///< what they wait for

/// The identity, which waits in its forward pass until the test lets it go.
struct gate : same_extents {
  static constexpr std::string_view kind = "gate";
  static constexpr ls::layer_traits traits{.backward_reads_input = false};

  template <class B, ls::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}

    void forward(context&, const ls::pass&, const value* x, const value*, value* y) {
      held.fetch_add(1);
      while (!gate_open.load()) std::this_thread::yield();
      held.fetch_sub(1);
      std::copy_n(x, count_, y);
    }
    void backward(context&, const ls::pass&, const ls::backward_arguments<value>&) {}

   private:
    std::int64_t count_;
  };
};

/// Keeps the gate shut while it lives.
struct shut_gate {
  shut_gate() { gate_open.store(false); }
  shut_gate(const shut_gate&) = delete;
  shut_gate& operator=(const shut_gate&) = delete;
  ~shut_gate() { open(); }

  static void open() { gate_open.store(true); }
  static void await(int passes) {
    while (held.load() != passes) std::this_thread::yield();
  }
};

using gated = ls::model<ls::sequential<gate, ls::linear<3>>, ls::input<4>>;

}  // namespace lockstep_test
