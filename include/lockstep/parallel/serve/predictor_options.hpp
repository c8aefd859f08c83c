// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep {

/// Settings of a predictor.
struct predictor_options {
  /// Most samples that a replica takes at once; requests are collected up to this number. A power of two fits best.
  std::int64_t max_batch = 32;
  /// How long the oldest request waits for others to join it while another replica works; when none works it starts at
  /// once. With zero, a free replica takes the waiting requests at once, and requests are only collected while all
  /// replicas work.
  std::chrono::microseconds latency{1000};
  /// Once this many samples wait for a replica, further requests are refused.
  std::int64_t max_pending = 1024;
  /// Threads of the vendor library inside one replica.
  int threads_per_replica = 1;
  /// GPUs by index, for a backend that runs on them: one for all replicas (none: the first), or one for each replica;
  /// several may share one.
  std::vector<int> devices{};
  /// What matrix products and convolutions may round their factors to, on backends that offer it.
  factor_rounding rounding = factor_rounding::none;
  /// Whether the constructor runs each replica on zeros in every batch size that it uses, so that no request pays for a
  /// first run.
  bool warm_up = true;

  /// Throws value_error for settings out of their domain.
  void check() const {
    constexpr std::int64_t most_samples = 65'536;
    constexpr std::chrono::hours longest{24};
    if (max_batch < 1 || max_batch > most_samples)
      throw value_error("predictor", "a max_batch of 1.." + std::to_string(most_samples), std::to_string(max_batch));
    if (latency < std::chrono::microseconds{0} || latency > longest)
      throw value_error("predictor", "a latency of zero or more, and of a day at most",
                        std::to_string(latency.count()) + " microseconds");
    if (max_pending < 1)
      throw value_error("predictor", "a max_pending of one sample or more", std::to_string(max_pending));
    if (threads_per_replica < 1)
      throw value_error("predictor", "one thread or more for each replica", std::to_string(threads_per_replica));
    for (const int device : devices)
      if (device < 0) throw value_error("predictor", "devices of index zero or more", std::to_string(device));
  }

  /// Returns the device of each of `replicas` replicas. Throws value_error unless `devices` has no, one or `replicas`
  /// entries.
  [[nodiscard]] std::vector<int> placement(int replicas) const {
    const auto count = static_cast<std::size_t>(replicas);
    if (devices.empty()) return std::vector<int>(count, 0);
    if (devices.size() == 1) return std::vector<int>(count, devices.front());
    if (devices.size() != count)
      throw value_error("predictor", "one device for all replicas, or one for each of the " + std::to_string(replicas),
                        std::to_string(devices.size()) + " devices");
    return devices;
  }
};

/// Counts of a predictor since its construction, and the samples that wait.
struct predictor_statistics {
  std::int64_t requests = 0;       ///< answered, with outputs or with an exception
  std::int64_t refused = 0;        ///< because too many samples waited
  std::int64_t batches = 0;        ///< runs of a replica
  std::int64_t samples = 0;        ///< in these batches
  std::int64_t largest_batch = 0;  ///< samples
  std::int64_t waiting = 0;        ///< samples that no replica has taken yet
  double mean_latency = 0;         ///< seconds from a request's arrival to its answer
};

}  // namespace lockstep
