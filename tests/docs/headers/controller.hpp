// The tensors of controller.safetensors, written by lockstep-embed.
//
//   0.bias  3
//   0.weight  3x2
//   2.bias  1
//   2.weight  1x3
//
// lockstep::embedded_state<Model>(weights::controller{}) is the state of a model that has them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

// clang-format off
namespace weights {

struct controller {
  struct tensor {
    std::string_view name;
    int rank;
    std::int64_t extents[2];
    std::int64_t begin;  // its first element in `values`
    bool whole;          // whole numbers, which the file keeps as I64
  };

  static constexpr tensor tensors[] = {
    {"0.bias", 1, {3}, 0, false},
    {"0.weight", 2, {3, 2}, 3, false},
    {"2.bias", 1, {1}, 9, false},
    {"2.weight", 2, {1, 3}, 10, false},
  };

  alignas(64) static constexpr std::array<float, 13> values = {{
    // 0.bias, 3
    0x1p-3F, -0x1p-2F, 0x1p-1F,
    // 0.weight, 3x2
    0x1.8p-1F, -0x1.8p+0F, 0x1.99999ap-4F, 0x1.333334p-2F, -0x1.666666p-1F, 0x1p+1F,
    // 2.bias, 1
    0x1p-4F,
    // 2.weight, 1x3
    0x1.4p+0F, -0x1.ccccccp-1F, 0x1.333334p-1F,
  }};
};

}  // namespace weights
// clang-format on
