// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <tuple>
#include <type_traits>

#include <lockstep/backend/cuda/cuda.hpp>

#include "device.hpp"
#include "support/catch.hpp"

namespace lockstep_test {

/// The backend under test, in the place of the CPU's.
using backends = std::tuple<lockstep::cuda>;
using pass_backends = std::tuple<lockstep::cuda, lockstep::cuda_bf16>;
using converting_backends = std::tuple<lockstep::cuda_bf16>;

/// Calls f(std::type_identity<B>{}) for each B of a list.
template <class List, class F>
void on_each(const F& f) {
  [&]<class... B>(std::type_identity<std::tuple<B...>>) {
    (f(std::type_identity<B>{}), ...);
  }(std::type_identity<List>{});
}

}  // namespace lockstep_test

// The suite's cases need a device here, which Catch2's macro cannot ask for. Those over several backends are one.
#undef TEMPLATE_LIST_TEST_CASE
#define TEMPLATE_LIST_TEST_CASE(name, tags, list) \
  LOCKSTEP_DEVICE_TEST_CASE(INTERNAL_CATCH_UNIQUE_NAME(on_every_backend), name, tags, list)
#define LOCKSTEP_DEVICE_TEST_CASE(function, name, tags, list)                                       \
  template <class TestType>                                                                         \
  static void function();                                                                           \
  TEST_CASE(name, tags) {                                                                           \
    LOCKSTEP_NEEDS_DEVICE();                                                                        \
    lockstep_test::on_each<list>([](auto tested) { function<typename decltype(tested)::type>(); }); \
  }                                                                                                 \
  template <class TestType>                                                                         \
  static void function()
