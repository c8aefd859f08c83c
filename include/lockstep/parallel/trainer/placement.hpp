// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// A backend whose replicas can reduce from home to home, by `collective<N>`, for a number of homes that divides N. The
/// first replica of each home takes part, as rank h of so many homes, and makes these calls on its own thread:
/// - `join(h, c, homes)`, once;
/// - `allocate_shared(h, c, n)`: n zeros in memory from which values travel fastest;
/// - `reserve_ordered(h, c, n)`: room for ordered sums of at most n values;
/// - `start_sum(h, c, n, values)`: enqueues a sum in place; the context's other work goes on beside it until
///   `await_sums(h, c)`;
/// - `start_ordered_sum`: the same, by tree_sum over the homes;
/// - `finish(h, c)`: as the backend's, but throws when a replica has failed and `abort()` was called, after which
///   nothing works.
///
/// The backend's `moves(c)` changes whenever a record of the context becomes useless. `recording(c)` tells whether the
/// context's work is being recorded. `replay(c, key, f, ready)` calls ready() before it runs a new record for the first
/// time. A backend may have `repeat(c, key, f)`, which runs f as it is each time, and then `prepared(c)`, which tells f
/// whether its work is recorded or has been enqueued before.
template <class B>
concept has_collective = requires { typename B::template collective<2>; };

/// The device of each replica. The options name none (the first) or one for all replicas, a different one for each, or
/// some that equally many neighbours share. Throws value_error for anything else, and for several devices when the
/// backend has no collective.
template <class B>
[[nodiscard]] std::vector<int> placement(const std::vector<int>& devices, std::size_t replicas) {
  std::vector<int> all = devices.empty() ? std::vector<int>{0} : devices;
  if (all.size() == 1) all.resize(replicas, all[0]);
  const auto refuse = [&](const char* got) {
    throw value_error("data_parallel",
                      "one device for all replicas, a different one for each of the " + std::to_string(replicas) +
                          ", or some for as many neighbours each (0, 0, 1, 1)",
                      got);
  };
  if (all.size() != replicas) refuse("another number of devices");
  const auto members =
      static_cast<std::size_t>(std::find_if(all.begin(), all.end(), [&](int d) { return d != all[0]; }) - all.begin());
  if (replicas % members != 0) refuse("devices with different numbers of replicas");
  for (std::size_t r = 0; r < replicas; ++r)
    for (std::size_t k = 0; k < r; ++k)
      if ((all[r] == all[k]) != (r / members == k / members)) refuse("devices that are not shared so");
  if (members < replicas && !has_collective<B>)
    throw value_error("data_parallel", "one device for all replicas", "several",
                      "this build reduces within one device only; for more, build with NCCL");
  return all;
}

}  // namespace lockstep::detail
