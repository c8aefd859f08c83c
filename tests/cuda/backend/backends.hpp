// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <tuple>

#include <lockstep/backend/cuda/cuda.hpp>

#include "device.hpp"
#include "support/catch.hpp"

namespace lockstep_test {

/// The backend under test, in the place of the CPU's.
using backends = std::tuple<lockstep::cuda>;

}  // namespace lockstep_test

// The suite's cases need a device here, which Catch2's macro cannot ask for. There is one backend, so that a case over
// a list of them is a plain one.
#undef TEMPLATE_LIST_TEST_CASE
#define TEMPLATE_LIST_TEST_CASE(name, tags, list) \
  LOCKSTEP_DEVICE_TEST_CASE(INTERNAL_CATCH_UNIQUE_NAME(on_every_backend), name, tags, list)
#define LOCKSTEP_DEVICE_TEST_CASE(function, name, tags, list) \
  template <class TestType>                                   \
  static void function();                                     \
  TEST_CASE(name, tags) {                                     \
    LOCKSTEP_NEEDS_DEVICE();                                  \
    function<std::tuple_element_t<0, list>>();                \
  }                                                           \
  template <class TestType>                                   \
  static void function()
