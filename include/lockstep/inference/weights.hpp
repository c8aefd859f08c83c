// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::detail::infer {

/// So many floats (32 KB) lie in the object.
inline constexpr std::int64_t most_inline_weights = 8 * 1024;

/// Packed weights at a multiple of 64 bytes, in the object itself or in one allocation. A copy has its own.
template <std::int64_t Most>
class packed_weights {
 public:
  explicit packed_weights(std::int64_t /*size*/) {}

  [[nodiscard]] float* data() noexcept { return all_.data(); }
  [[nodiscard]] const float* data() const noexcept { return all_.data(); }

 private:
  alignas(64) std::array<float, static_cast<std::size_t>(Most > 0 ? Most : 1)> all_{};
};

template <std::int64_t Most>
  requires(Most > most_inline_weights)
class packed_weights<Most> {
  struct alignas(64) line {
    float values[16];
  };

 public:
  explicit packed_weights(std::int64_t size) : lines_(static_cast<std::size_t>((size + 15) / 16)) {}

  [[nodiscard]] float* data() noexcept { return lines_.data()->values; }
  [[nodiscard]] const float* data() const noexcept { return lines_.data()->values; }

 private:
  std::vector<line> lines_;
};

}  // namespace lockstep::detail::infer
