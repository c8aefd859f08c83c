// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstdint>

#include <cudnn.h>

#include <lockstep/backend/cuda/convolution_plan.hpp>
#include <lockstep/backend/cuda/cudnn_graph.hpp>
#include <lockstep/backend/geometry.hpp>

#include "described_device.hpp"
#include "support/catch.hpp"

/// \file
/// What cuDNN itself says to the graphs of convolutions, for a device that is only described to it: so it can be asked
/// where there is none.

namespace {

namespace ls = lockstep;
namespace backend = ls::cuda_backend;

#if CUDNN_VERSION >= 90800

using geometry = ls::convolution_geometry;
constexpr std::array geometries{
    geometry{.in_channels = 3, .in = {32}, .out_channels = 64, .kernel = {3}, .padding = {1}, .relu = true},
    geometry{.in_channels = 64, .in = {16}, .out_channels = 128, .kernel = {3}, .padding = {1}},
    geometry{.in_channels = 64, .in = {8, 9}, .out_channels = 32, .kernel = {1}, .stride = {2}},
    geometry{.in_channels = 12, .in = {11}, .out_channels = 8, .kernel = {3, 2}, .dilation = {2}, .groups = 4},
    geometry{.in_channels = 1, .in = {28}, .out_channels = 10, .kernel = {5}}};

constexpr std::array passes{backend::convolution_pass::forward, backend::convolution_pass::forward_bias,
                            backend::convolution_pass::forward_bias_and_relu,
                            backend::convolution_pass::weight_gradient, backend::convolution_pass::input_gradient};

/// The workspace of the plan that is taken.
std::int64_t bytes_of_plan(const geometry& g, backend::convolution_pass pass, cudnnDataType_t elements, bool rounds,
                           std::int64_t samples = 64) {
  static const lockstep_test::described_device device;
  const auto plan = backend::convolution_graph(g, samples, elements).plan(device, pass, rounds);
  REQUIRE(plan);
  return plan.bytes();
}

#endif

}  // namespace

TEST_CASE("cuDNN has deterministic engines for each pass of a convolution, as asked of an H100", "[host]") {
#if CUDNN_VERSION >= 90800
  constexpr std::int64_t most = std::int64_t{256} << 20U;
  for (const geometry& g : geometries)
    for (const auto pass : passes) {
      CAPTURE(g.in_channels, g.out_channels, static_cast<int>(pass));
      CHECK(bytes_of_plan(g, pass, CUDNN_DATA_FLOAT, false) <= most);
      CHECK(bytes_of_plan(g, pass, CUDNN_DATA_FLOAT, true) <= most);
      CHECK(bytes_of_plan(g, pass, CUDNN_DATA_BFLOAT16, true) <= most);
    }
  // In float32 alone the engine that is fast for a large batch works in as much as its operands take, and may.
  constexpr geometry wide{.in_channels = 64, .in = {32}, .out_channels = 64, .kernel = {3}, .padding = {1}};
  constexpr std::int64_t samples = 1024;
  constexpr std::int64_t operand = samples * wide.in_size() * std::int64_t{sizeof(float)};
  for (const auto pass :
       {backend::convolution_pass::forward_bias_and_relu, backend::convolution_pass::input_gradient}) {
    const std::int64_t bytes = bytes_of_plan(wide, pass, CUDNN_DATA_FLOAT, false, samples);
    CHECK(bytes >= operand);
    CHECK(bytes <= 3 * operand);
  }
  // A first convolution's weight gradient: with TF32 the plan has room for copies of both operands.
  constexpr geometry first = geometries[0];
  constexpr std::int64_t both = samples * (first.in_size() + first.out_size()) * std::int64_t{sizeof(float)};
  CHECK(bytes_of_plan(first, backend::convolution_pass::weight_gradient, CUDNN_DATA_FLOAT, true, samples) >= both);
#else
  LOCKSTEP_SKIP("cuDNN before 9.8 takes no description of a device");
#endif
}
