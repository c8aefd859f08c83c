// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: embedded_state: the model counts in a tensor (Name)
#include <array>
#include <cstdint>
#include <string_view>

#include <lockstep/inference.hpp>

namespace ls = lockstep;

struct weights {
  struct tensor {
    std::string_view name;
    int rank;
    std::int64_t extents[2];
    std::int64_t begin;
    bool whole;
  };
#ifdef LOCKSTEP_TEST_FIXED
  static constexpr tensor tensors[] = {{"0.num_batches_tracked", 0, {0}, 0, true},
                                       {"0.running_mean", 1, {3}, 1, false},
                                       {"0.running_var", 1, {3}, 1, false}};
#else
  static constexpr tensor tensors[] = {{"0.num_batches_tracked", 0, {0}, 1, false},
                                       {"0.running_mean", 1, {3}, 1, false},
                                       {"0.running_var", 1, {3}, 1, false}};
#endif
  static constexpr std::array<float, 4> values = {5, 0.5F, 0.25F, 1};
};

using net = ls::model<ls::sequential<ls::batch_norm1d<ls::no_affine>>, ls::input<3>>;

int main() { return ls::embedded_state<net>(weights{})[0] > 0 ? 1 : 0; }
