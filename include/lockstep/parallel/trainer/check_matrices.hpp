// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/optim/matrix_rule.hpp>
#include <lockstep/parallel/trainer/matrix_places.hpp>

namespace lockstep::detail {

/// Checks that an optimizer of matrices finds some, and a backend that multiplies them.
template <class Model, class B, class Optimizer>
consteval bool check_matrices() {
  if constexpr (updates_matrices<Optimizer>) {
    static_assert(
        multiplies_matrices<B> && B::host_memory,
        "lockstep: muon: this backend (B) cannot multiply matrices of parameters; use one that can, such as cpu");
    constexpr const auto& taken = matrix_parameters<Model, B, Optimizer>;
    static_assert(
        std::find(taken.begin(), taken.end(), true) != taken.end(),
        "lockstep: muon: it takes none of the model's parameters that learn as a matrix; use adamw, or look for a slip "
        "in what it leaves out");
  }
  return true;
}

}  // namespace lockstep::detail
