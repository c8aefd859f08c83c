// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "parallel/one_device.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

TEST_CASE("in double, a step of N replicas is the step of one device: classification", "[data_parallel]") {
  check_classification<small_classifier, ls::reference<double>, 1, 2, 3, 4, 8>();
}

TEST_CASE("in double, a step of N replicas is the step of one device: regression", "[data_parallel]") {
  check_regression<small_regression, ls::reference<double>, 1, 2, 3, 4, 8>();
}
