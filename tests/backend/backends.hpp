// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <tuple>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/reference/reference.hpp>

namespace lockstep_test {

/// The backends under test. A program that tests others puts a folder with a `backend/backends.hpp` of its own before
/// this one.
using backends = std::tuple<lockstep::cpu>;
/// The same, and those that differ from one of them in what a pass computes in.
using pass_backends = backends;
/// Those that compute passes in other elements than the user's. The CPU has none: the definitions have.
using converting_backends = std::tuple<lockstep::reference<double, float>>;

}  // namespace lockstep_test
