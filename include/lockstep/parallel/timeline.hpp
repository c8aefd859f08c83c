// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>

namespace lockstep {

/// What a replica, or the communication thread, does in one span of time.
enum class activity : std::uint8_t {
  forward,      ///< of one node of the plan
  loss,         ///< of a micro-shard
  backward,     ///< of one node of the plan
  fold,         ///< adds up gradients of micro-shards
  wait,         ///< for the other replicas
  communicate,  ///< one bucket over the communicator
  update,       ///< reduction over the replicas and optimizer
};

/// One span of a timeline. Times are nanoseconds of the steady clock.
struct timeline_event {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int32_t step = 0;
  std::int16_t index = -1;  ///< node for forward and backward, bucket for communicate, else -1
  activity what = activity::forward;
};

/// Spans recorded by a trainer on tracks: one for each replica, and one more for the communication thread when there is
/// one. Memory is allocated once; a full track drops further events and counts them. Each track is written by one
/// thread; read it between steps.
class timeline {
 public:
  /// Throws value_error for no tracks, or no room for events.
  timeline(int tracks, std::int64_t events_per_track) {
    if (tracks < 1 || events_per_track < 1)
      throw value_error("timeline", "one track or more, with room for one event or more",
                        std::to_string(tracks) + " tracks, " + std::to_string(events_per_track) + " events");
    tracks_.resize(static_cast<std::size_t>(tracks));
    for (auto& one : tracks_) one.events.resize(static_cast<std::size_t>(events_per_track));
  }

  [[nodiscard]] static std::int64_t now() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  void record(int at, const timeline_event& event) noexcept {
    track& one = tracks_[static_cast<std::size_t>(at)];
    if (one.used == one.events.size())
      ++one.dropped;
    else
      one.events[one.used++] = event;
  }

  void clear() noexcept {
    for (auto& one : tracks_) one.used = 0, one.dropped = 0;
  }

  [[nodiscard]] int tracks() const noexcept { return static_cast<int>(tracks_.size()); }
  [[nodiscard]] std::span<const timeline_event> events(int at) const {
    const track& one = tracks_.at(static_cast<std::size_t>(at));
    return {one.events.data(), one.used};
  }
  /// Events that did not fit.
  [[nodiscard]] std::int64_t dropped(int at) const { return tracks_.at(static_cast<std::size_t>(at)).dropped; }

 private:
  struct alignas(64) track {
    std::vector<timeline_event> events;
    std::size_t used = 0;
    std::int64_t dropped = 0;
  };
  std::vector<track> tracks_;
};

}  // namespace lockstep
