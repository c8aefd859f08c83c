// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>

namespace lockstep {

/// Which buckets travel together: the last bucket of every message, in ascending order; the list ends with the last
/// bucket of all. {0, 1, 2} sends three buckets one by one, {2} all three at once.
using bucket_schedule = std::vector<int>;

/// What a message over a link costs: latency + bytes * seconds_per_byte.
struct link_cost {
  double latency = 0;
  double seconds_per_byte = 0;
};

/// When the last message of `schedule` has arrived, in seconds, on a link that carries one message at a time. Bucket b
/// has bytes[b] bytes and is ready after ready[b] seconds.
template <class = void>
[[nodiscard]] double predicted_end(const bucket_schedule& schedule, std::span<const double> ready,
                                   std::span<const std::int64_t> bytes, const link_cost& link) {
  double end = 0;
  std::size_t first = 0;
  for (const int last : schedule) {
    std::int64_t size = 0;
    for (; first <= static_cast<std::size_t>(last); ++first) size += bytes[first];
    end = (std::max)(end, ready[static_cast<std::size_t>(last)]) + link.latency +
          static_cast<double>(size) * link.seconds_per_byte;
  }
  return end;
}

/// The schedule whose last message arrives first; of equal ones, one with the fewest messages. `ready` ascends.
/// O(n^2) for n buckets. Exact, since it is never worse when the link is free earlier.
template <class = void>
[[nodiscard]] bucket_schedule schedule_buckets(std::span<const double> ready, std::span<const std::int64_t> bytes,
                                               const link_cost& link) {
  struct state {
    double end = std::numeric_limits<double>::infinity();
    std::size_t messages = 0, from = 0;
  };
  std::vector<state> best(ready.size() + 1);
  best[0] = {0, 0, 0};
  for (std::size_t k = 1; k < best.size(); ++k) {
    double size = 0;
    for (std::size_t j = k; j-- > 0;) {
      size += static_cast<double>(bytes[j]);
      const double end = (std::max)(best[j].end, ready[k - 1]) + link.latency + size * link.seconds_per_byte;
      if (end < best[k].end || (end == best[k].end && best[j].messages + 1 < best[k].messages))
        best[k] = {end, best[j].messages + 1, j};
    }
  }
  bucket_schedule schedule;
  for (std::size_t k = ready.size(); k > 0; k = best[k].from) schedule.push_back(static_cast<int>(k - 1));
  std::reverse(schedule.begin(), schedule.end());
  return schedule;
}

/// Throws value_error unless `schedule` is a schedule of that many buckets.
template <class = void>
void check_schedule(const bucket_schedule& schedule, std::size_t buckets) {
  bool ascends = true;
  int before = -1;
  for (const int last : schedule) {
    ascends = ascends && last > before;
    before = last;
  }
  if (ascends && before + 1 == static_cast<int>(buckets)) return;
  std::string given;
  for (const int last : schedule) given.append(given.empty() ? "" : ", ").append(std::to_string(last));
  throw value_error("bucket_schedule", "ascending buckets that end with " + std::to_string(buckets) + " - 1",
                    "{" + given + "}", "a schedule is of one model and one bucket_bytes");
}

}  // namespace lockstep
