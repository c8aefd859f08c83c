// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>

#include <lockstep/parallel/trainer/one_home.hpp>
#include <lockstep/parallel/trainer/placement.hpp>
#include <lockstep/parallel/trainer/several_homes.hpp>

namespace lockstep::detail {

/// The homes of N replicas on a backend: `several_homes` where it can sum between devices, else `one_home`.
template <class B, class Optimizer, std::size_t N, std::size_t Ranges, bool Reproducible>
struct homes_of {
  using type = one_home<B, Optimizer, N, Ranges>;
};
template <has_collective B, class Optimizer, std::size_t N, std::size_t Ranges, bool Reproducible>
struct homes_of<B, Optimizer, N, Ranges, Reproducible> {
  using type = several_homes<B, Optimizer, N, Ranges, Reproducible>;
};

}  // namespace lockstep::detail
