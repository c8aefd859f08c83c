// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <type_traits>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/optim/optimizer.hpp>
#include <lockstep/optim/sgd.hpp>

/// \file
/// The types that may follow N in `data_parallel<Model, N, ...>`, in any order.

namespace lockstep::detail {

template <class P>
struct is_backend_policy : std::bool_constant<backend<P>> {};
template <class P>
struct is_optimizer_policy : std::bool_constant<optimizer<P>> {};

/// The one policy for which Is holds, or Default.
template <template <class> class Is, class Default, class... Policies>
struct pick {
  using type = Default;
};
template <template <class> class Is, class Default, class First, class... Rest>
struct pick<Is, Default, First, Rest...>
    : std::conditional_t<Is<First>::value, std::type_identity<First>, pick<Is, Default, Rest...>> {};

template <class... Policies>
struct policies {
  // First: a compiler may drop the members behind a check that fails, and then complain of their absence.
  using backend = typename pick<is_backend_policy, cpu, Policies...>::type;
  using optimizer = typename pick<is_optimizer_policy, sgd, Policies...>::type;

  static_assert(((is_backend_policy<Policies>::value || is_optimizer_policy<Policies>::value) && ...),
                "lockstep: data_parallel: a policy behind N is neither a backend nor an optimizer");
  static_assert((0 + ... + (is_backend_policy<Policies>::value ? 1 : 0)) <= 1,
                "lockstep: data_parallel: two backends are given; keep one");
  static_assert((0 + ... + (is_optimizer_policy<Policies>::value ? 1 : 0)) <= 1,
                "lockstep: data_parallel: two optimizers are given; keep one");
};

}  // namespace lockstep::detail
