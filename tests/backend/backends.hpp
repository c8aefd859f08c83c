// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <tuple>
#include <type_traits>

#include <lockstep/backend/cpu/bf16/cpu_bf16.hpp>
#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/reference/reference.hpp>

#include "support/catch.hpp"

namespace lockstep_test {

/// The backends under test. A program that tests others puts a folder with a `backend/backends.hpp` of its own before
/// this one.
using backends = std::tuple<lockstep::cpu>;
/// The same, and those that differ from one of them in what a pass computes in.
using pass_backends = std::tuple<lockstep::cpu, lockstep::cpu_bf16>;
/// Those that compute passes in other elements than the user's.
using converting_backends = std::tuple<lockstep::reference<double, float>, lockstep::cpu_bf16>;

/// Whether the machine has what a backend needs.
template <class B>
bool runs_here() {
  if constexpr (std::is_same_v<B, lockstep::cpu_bf16>)
    return lockstep::cpu_backend::bf16::is_supported();
  else
    return true;
}

/// Calls f(std::type_identity<B>{}) for each B of a list that runs here. Returns whether all do.
template <class List, class F>
bool on_each(const F& f) {
  bool all = true;
  const auto run = [&]<class B>(std::type_identity<B> tested) {
    if (runs_here<B>())
      f(tested);
    else
      all = false;
  };
  [&]<class... B>(std::type_identity<std::tuple<B...>>) {
    (run(std::type_identity<B>{}), ...);
  }(std::type_identity<List>{});
  return all;
}

}  // namespace lockstep_test

// One case for all backends of a list, which says when it has left one out, as Catch2's macro cannot.
#undef TEMPLATE_LIST_TEST_CASE
#define TEMPLATE_LIST_TEST_CASE(name, tags, list) \
  LOCKSTEP_BACKENDS_TEST_CASE(INTERNAL_CATCH_UNIQUE_NAME(on_every_backend), name, tags, list)
#define LOCKSTEP_BACKENDS_TEST_CASE(function, name, tags, list)                                                      \
  template <class TestType>                                                                                          \
  static void function();                                                                                            \
  TEST_CASE(name, tags) {                                                                                            \
    const bool all = lockstep_test::on_each<list>([](auto tested) { function<typename decltype(tested)::type>(); }); \
    if (!all) LOCKSTEP_SKIP("this machine has no AVX512_BF16, which one of the backends needs");                     \
  }                                                                                                                  \
  template <class TestType>                                                                                          \
  static void function()
