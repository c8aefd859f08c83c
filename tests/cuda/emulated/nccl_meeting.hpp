// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "machine.hpp"

/// \file
/// What ranks of the emulated NCCL do together once all of them have come.

namespace emulated {

enum class operation { all_reduce, all_gather, exchange };

/// What one rank brings to a call.
struct part {
  operation what{};
  const float* from = nullptr;
  float* to = nullptr;
  std::size_t count = 0;
  bool recorded = false;

  /// Of an exchange: what goes to another rank, and what comes from it.
  struct message {
    const float* from = nullptr;
    float* to = nullptr;
    std::size_t sent = 0, received = 0;
  };
  std::map<std::size_t, message> messages{};
};

/// One call of all ranks.
struct call {
  std::vector<part> parts;
  std::size_t come = 0;
};

struct group {
  explicit group(std::size_t size) : posted(size) {}

  std::size_t joined = 0;
  bool aborted = false;
  std::vector<std::int64_t> posted;  ///< calls that each rank's stream has come to
  std::map<std::int64_t, call> open;
};

[[noreturn]] inline void differ() {
  static_cast<void>(std::fprintf(stderr, "emulated NCCL: ranks whose calls do not fit together\n"));
  std::abort();
}

inline void finish(const call& c) {
  const part& first = c.parts.front();
  for (const part& each : c.parts)
    if (each.what != first.what || each.count != first.count || each.recorded != first.recorded) differ();
  if (first.what == operation::exchange) {
    // All is read before anything is written, but what a rank sends must not lie where it receives.
    std::map<std::pair<std::size_t, std::size_t>, std::vector<float>> under_way;
    for (std::size_t r = 0; r < c.parts.size(); ++r)
      for (const auto& [to, m] : c.parts[r].messages) {
        const auto& theirs = c.parts.at(to).messages;
        const auto expected = theirs.find(r);
        if (m.sent != (expected == theirs.end() ? 0 : expected->second.received)) differ();
        under_way[{r, to}].assign(m.from, m.from + m.sent);
        for (const auto& [other, n] : c.parts[r].messages)
          if (m.from < n.to + n.received && n.to < m.from + m.sent) differ();
      }
    for (std::size_t r = 0; r < c.parts.size(); ++r)
      for (const auto& [from, m] : c.parts[r].messages) {
        const auto& values = under_way[{from, r}];
        if (m.received != values.size()) differ();
        std::copy(values.begin(), values.end(), m.to);
      }
  } else if (first.what == operation::all_reduce) {
    std::vector<float> sums(first.count);
    for (const part& each : c.parts)
      for (std::size_t i = 0; i < first.count; ++i) sums[i] += each.from[i];
    for (const part& each : c.parts) std::copy(sums.begin(), sums.end(), each.to);
  } else {
    for (const part& to : c.parts)
      for (std::size_t r = 0; r < c.parts.size(); ++r)
        std::memmove(to.to + r * first.count, c.parts[r].from, first.count * sizeof(float));
  }
}

class meeting final : public work {
 public:
  meeting(std::shared_ptr<group> of, std::shared_ptr<int> held, std::size_t rank, const part& own)
      : group_(std::move(of)), held_(std::move(held)), rank_(rank), own_(own) {}

  [[nodiscard]] bool meets() const override { return true; }

  bool run(std::int64_t& ticket) override {
    group& g = *group_;
    if (ticket == 0) {
      ticket = ++g.posted[rank_];
      call& c = g.open[ticket];
      c.parts.resize(g.posted.size());
      c.parts[rank_] = own_;
      if (++c.come == c.parts.size()) {
        finish(c);
        g.open.erase(ticket);
        machine::get().changed.notify_all();
      }
    }
    if (!g.aborted && g.open.contains(ticket)) reach_meetings();
    return g.aborted || !g.open.contains(ticket);
  }

 private:
  std::shared_ptr<group> group_;
  std::shared_ptr<int> held_;  ///< counts who holds calls of the communicator
  std::size_t rank_;
  part own_;
};

}  // namespace emulated
