// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace lockstep::cpu_backend {

/// Serves every number of samples up to `most` with objects that a library prepares for a fixed number. One object is
/// prepared for each power of two; a number of samples is cut into distinct powers of two. The cut depends on the
/// number alone, and so do the bits of the results.
template <class Prepared>
class pieces {
 public:
  pieces() = default;
  /// make(samples) prepares an object for `samples` samples.
  template <class Make>
  [[gnu::cold]] pieces(std::int64_t most, const Make& make) {
    const auto count = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(most)));
    prepared_.reserve(static_cast<std::size_t>(count));
    for (int k = 0; k < count; ++k) prepared_.emplace_back(new Prepared(make(std::int64_t{1} << k)));
  }

  /// Calls f(prepared, first sample) for the pieces of `samples` samples, the largest first. Each prepared object is
  /// used at most once.
  template <class F>
  void each(std::int64_t samples, const F& f) {
    for (std::int64_t first = 0; first < samples;) {
      const auto k = std::bit_width(static_cast<std::uint64_t>(samples - first)) - 1;
      f(*prepared_[static_cast<std::size_t>(k)], first);
      first += std::int64_t{1} << k;
    }
  }

 private:
  std::vector<std::unique_ptr<Prepared>> prepared_;  ///< large objects, made in place
};

}  // namespace lockstep::cpu_backend
