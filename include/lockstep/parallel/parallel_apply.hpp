// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <lockstep/parallel/trainer/rethrow_first.hpp>
#include <lockstep/parallel/trainer/thread_team.hpp>

namespace lockstep {

/// Calls functions[r](inputs[r]) for every replica, each on a thread of the team, and returns the results in order, as
/// torch.nn.parallel.parallel_apply. When replicas throw, waits for all and throws the first one's exception as a
/// replica_error, with the replica's index and the original exception nested.
template <class F, class Input, std::size_t N>
auto parallel_apply(thread_team<static_cast<int>(N)>& team, std::array<F, N>& functions, std::array<Input, N>& inputs) {
  using result = std::invoke_result_t<F&, Input&>;
  constexpr bool returns = !std::is_void_v<result>;
  std::array<std::exception_ptr, N> errors{};
  std::array<std::optional<std::conditional_t<returns, result, char>>, N> results{};
  team.run([&](int member) {
    const auto r = static_cast<std::size_t>(member);
    try {
      if constexpr (returns)
        results[r].emplace(functions[r](inputs[r]));
      else
        functions[r](inputs[r]);
    } catch (...) {
      errors[r] = std::current_exception();
    }
  });
  detail::rethrow_first(errors);
  if constexpr (returns)
    return [&]<std::size_t... R>(std::index_sequence<R...>) {
      return std::array<result, N>{std::move(*results[R])...};
    }(std::make_index_sequence<N>{});
}

/// The same with threads that live for this call only.
template <class F, class Input, std::size_t N>
auto parallel_apply(std::array<F, N>& functions, std::array<Input, N>& inputs) {
  thread_team<static_cast<int>(N)> team(false);
  return parallel_apply(team, functions, inputs);
}

}  // namespace lockstep
