// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include "backend/linear_check.hpp"

namespace {

using namespace lockstep_test;

template <class B, ls::linear_geometry... G>
void check_all() {
  entered<B> e;
  for (const std::int64_t n : {1, 2, 3, 4, 5, 8, 33})
    for (const bool accumulate : {false, true}) (check_linear<B, G>(e.context, n, accumulate), ...);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("linear with a narrow output", "[linear]", pass_backends) {
  check_all<TestType, ls::linear_geometry{.in = 1, .out = 1},
            ls::linear_geometry{.in = 130, .out = 1, .relu = true, .mask_input = true},
            ls::linear_geometry{.in = 7, .out = 3, .bias = false},
            ls::linear_geometry{.in = 64, .out = 3, .input_gradient = false}, ls::linear_geometry{.in = 10, .out = 10},
            ls::linear_geometry{.in = 63, .out = 10, .mask_input = true},
            ls::linear_geometry{.in = 65, .out = 10, .relu = true},
            ls::linear_geometry{.in = 1000, .out = 10, .bias = false, .relu = true, .mask_input = true},
            ls::linear_geometry{.in = 1000, .out = 16},
            ls::linear_geometry{.in = 130, .out = 16, .relu = true, .input_gradient = false}>();
}

TEMPLATE_LIST_TEST_CASE("linear with a wide output", "[linear]", pass_backends) {
  check_all<TestType, ls::linear_geometry{.in = 1, .out = 17},
            ls::linear_geometry{.in = 65, .out = 17, .bias = false, .mask_input = true},
            ls::linear_geometry{.in = 130, .out = 17, .relu = true},
            ls::linear_geometry{.in = 63, .out = 64, .bias = false, .relu = true, .input_gradient = false},
            ls::linear_geometry{.in = 1000, .out = 64, .relu = true, .mask_input = true},
            ls::linear_geometry{.in = 64, .out = 64}>();
}

TEMPLATE_LIST_TEST_CASE("linear with whole vectors of outputs", "[linear]", pass_backends) {
  check_all<TestType, ls::linear_geometry{.in = 1, .out = 24},
            ls::linear_geometry{.in = 70, .out = 40, .relu = true, .mask_input = true},
            ls::linear_geometry{.in = 23, .out = 48, .bias = false, .mask_input = true},
            ls::linear_geometry{.in = 256, .out = 32},
            ls::linear_geometry{.in = 2053, .out = 24, .bias = false, .relu = true}>();
}

TEMPLATE_LIST_TEST_CASE("linear without gradients of its parameters", "[linear]", pass_backends) {
  check_all<TestType, ls::linear_geometry{.in = 65, .out = 10, .mask_input = true, .parameter_gradient = false},
            ls::linear_geometry{.in = 63, .out = 17, .parameter_gradient = false},
            ls::linear_geometry{.in = 63, .out = 32, .mask_input = true, .parameter_gradient = false},
            ls::linear_geometry{.in = 64, .out = 33, .bias = false, .mask_input = true, .parameter_gradient = false}>();
}
