// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <lockstep/core/error.hpp>

namespace lockstep {

/// Calls f.template operator()<N>() for the N among `Counts` that equals n, a number known only at run time:
/// `with_replicas<1, 2, 4, 8>(n, [&]<int N> { ... })`. Throws value_error when n is not among them.
template <int... Counts, class F>
void with_replicas(int n, F&& f) {
  static_assert(sizeof...(Counts) > 0, "lockstep: with_replicas: name the numbers of replicas to build for");
  const bool found = ((n == Counts ? (f.template operator()<Counts>(), true) : false) || ...);
  if (found) return;
  std::string known;
  ((known += (known.empty() ? "" : ", ") + std::to_string(Counts)), ...);
  throw value_error("with_replicas", "one of " + known + " replicas", std::to_string(n),
                    "this program was built for these numbers only");
}

}  // namespace lockstep
