// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: embedded_state: the header lacks a tensor of the model (Name, of the shape Wanted)
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
  static constexpr tensor tensors[] = {{"0.bias", 1, {2}, 0, false}, {"0.weight", 2, {2, 3}, 2, false}};
#else
  static constexpr tensor tensors[] = {{"0.bias", 1, {2}, 0, false}, {"1.weight", 2, {2, 3}, 2, false}};
#endif
  static constexpr std::array<float, 8> values = {1, 2, 3, 4, 5, 6, 7, 8};
};

using net = ls::model<ls::sequential<ls::linear<2>>, ls::input<3>>;

int main() { return ls::embedded_state<net>(weights{})[0] > 0 ? 1 : 0; }
