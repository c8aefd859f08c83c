// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include "backend/convolution_check.hpp"

namespace {

using namespace lockstep_test;

template <class B, ls::convolution_geometry... G>
void check_all() {
  entered<B> e;
  for (const std::int64_t n : {1, 2, 5})
    for (const bool accumulate : {false, true}) (check_convolution<B, G>(e.context, n, accumulate), ...);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("convolution with kernels of 1, 3 and 5", "[convolution]", pass_backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 1,
                                     .in = {6, 5},
                                     .out_channels = 8,
                                     .kernel = {1},
                                     .stride = {1},
                                     .dilation = {1},
                                     .bias = false},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {6},
                                     .out_channels = 8,
                                     .kernel = {1},
                                     .stride = {2},
                                     .dilation = {1},
                                     .bias = false,
                                     .relu = true},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {8},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .relu = true,
                                     .input_gradient = false},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {8, 7},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1}},
            ls::convolution_geometry{.in_channels = 8,
                                     .in = {7, 6},
                                     .out_channels = 5,
                                     .kernel = {5},
                                     .stride = {2},
                                     .padding = {2},
                                     .dilation = {1}}>();
}

TEMPLATE_LIST_TEST_CASE("convolution with windows that are not square", "[convolution]", pass_backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 5,
                                     .in = {7, 9},
                                     .out_channels = 3,
                                     .kernel = {3, 2},
                                     .stride = {2, 1},
                                     .padding = {1, 0},
                                     .dilation = {1, 2}},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {5, 9},
                                     .out_channels = 8,
                                     .kernel = {1, 3},
                                     .stride = {1, 2},
                                     .padding = {0, 1},
                                     .dilation = {1, 2},
                                     .relu = true},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {6},
                                     .out_channels = 5,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {2},
                                     .dilation = {2}},
            ls::convolution_geometry{
                .in_channels = 8, .in = {4}, .out_channels = 16, .kernel = {4}, .stride = {1}, .dilation = {1}},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {5},
                                     .out_channels = 1,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1}}>();
}

TEMPLATE_LIST_TEST_CASE("convolution in groups", "[convolution]", pass_backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 8,
                                     .in = {6},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .groups = 2},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {6, 5},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .groups = 16,
                                     .relu = true},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {6},
                                     .out_channels = 6,
                                     .kernel = {3},
                                     .stride = {2},
                                     .dilation = {1},
                                     .groups = 3,
                                     .bias = false,
                                     .input_gradient = false}>();
}

// A backend may have code of its own for pictures of few channels: several rows and blocks of channels at once.
TEMPLATE_LIST_TEST_CASE("convolution of few channels into many", "[convolution]", pass_backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {14, 12},
                                     .out_channels = 32,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .relu = true,
                                     .input_gradient = false},
            ls::convolution_geometry{
                .in_channels = 1, .in = {3, 130}, .out_channels = 64, .kernel = {1, 2}, .stride = {1}, .dilation = {1}},
            ls::convolution_geometry{.in_channels = 4,
                                     .in = {7, 6},
                                     .out_channels = 32,
                                     .kernel = {3, 2},
                                     .stride = {2, 1},
                                     .padding = {1, 0},
                                     .dilation = {2, 1},
                                     .bias = false},
            ls::convolution_geometry{.in_channels = 2,
                                     .in = {9, 8},
                                     .out_channels = 96,
                                     .kernel = {5},
                                     .stride = {2},
                                     .padding = {2},
                                     .dilation = {1}}>();
}

// Where the kernel has three rows, output rows may be made in pairs: an odd number of them, one alone, several
// strips of pairs, taps that do not come in threes, no padding and much of it.
TEMPLATE_LIST_TEST_CASE("convolution of few channels by kernels of three rows", "[convolution]", pass_backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {9, 20},
                                     .out_channels = 64,
                                     .kernel = {3},
                                     .padding = {1},
                                     .relu = true,
                                     .input_gradient = false},
            ls::convolution_geometry{.in_channels = 1, .in = {4, 7}, .out_channels = 32, .kernel = {3, 2}},
            ls::convolution_geometry{.in_channels = 1, .in = {3, 5}, .out_channels = 32, .kernel = {3}},
            ls::convolution_geometry{.in_channels = 4,
                                     .in = {4, 9},
                                     .out_channels = 32,
                                     .kernel = {3, 5},
                                     .stride = {1, 2},
                                     .padding = {2, 3},
                                     .bias = false},
            ls::convolution_geometry{
                .in_channels = 2, .in = {12, 40}, .out_channels = 96, .kernel = {3, 1}, .input_gradient = false}>();
}

TEMPLATE_LIST_TEST_CASE("convolution without gradients of its parameters", "[convolution]", pass_backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {8, 7},
                                     .out_channels = 32,
                                     .kernel = {3},
                                     .padding = {1},
                                     .relu = true,
                                     .parameter_gradient = false},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {6},
                                     .out_channels = 8,
                                     .kernel = {3, 2},
                                     .stride = {2, 1},
                                     .bias = false,
                                     .parameter_gradient = false}>();
}
