// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>

#include <lockstep/core/config.hpp>

/// \file
/// The two 16-bit floating-point formats, without branches, so that loops over them vectorise.
/// Rounding is to nearest, ties to even (in the processor's default rounding mode).

namespace lockstep {

namespace detail {

/// Returns `yes` where the condition holds, else `no`. There is no branch: a compiler would move part of the work into
/// it.
[[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::uint32_t choose(bool condition, std::uint32_t yes, std::uint32_t no) {
  const std::uint32_t mask = 0U - static_cast<std::uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

}  // namespace detail

/// IEEE 754 binary16: 5 bits of exponent, 10 of fraction; largest finite value 65504.
struct float16 {
  /// Returns the nearest float16. From 65520 up that is infinity, as in PyTorch's .to(torch.float16): nothing
  /// saturates. A NaN keeps its sign and the upper bits of its payload, and becomes quiet.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE static constexpr std::uint16_t encode(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    // From 0.5 to 1 a float's last bit is 2^-24, the smallest float16: adding 0.5 rounds a subnormal result.
    const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000U;
    const std::uint32_t normal = (magnitude - 0x38000000U + 0xFFFU + ((magnitude >> 13U) & 1U)) >> 13U;
    const std::uint32_t nan = 0x7E00U | ((magnitude >> 13U) & 0x3FFU);
    std::uint32_t result = detail::choose(magnitude < 0x38800000U, subnormal, normal);
    result = detail::choose(magnitude >= 0x47800000U, 0x7C00U, result);
    result = detail::choose(magnitude > 0x7F800000U, nan, result);
    return static_cast<std::uint16_t>(((bits >> 16U) & 0x8000U) | result);
  }

  /// Returns the exact value of a float16.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE static constexpr float decode(std::uint16_t half) {
    const std::uint32_t magnitude = half & 0x7FFFU;
    const auto subnormal =
        std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F);
    std::uint32_t result = (magnitude << 13U) + 0x38000000U;
    result = detail::choose(magnitude >= 0x7C00U, result + 0x38000000U, result);
    result = detail::choose(magnitude < 0x400U, subnormal, result);
    return std::bit_cast<float>(((half & 0x8000U) << 16U) | result);
  }

  /// Returns decode(encode(value)), without a detour through 16-bit integers.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE static constexpr float round(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    const auto units = std::bit_cast<std::int32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000;
    const auto subnormal = std::bit_cast<std::uint32_t>(static_cast<float>(units) * 0x1p-24F);
    const std::uint32_t normal = (magnitude + 0xFFFU + ((magnitude >> 13U) & 1U)) & 0xFFFFE000U;
    const std::uint32_t nan = (magnitude | 0x400000U) & 0xFFFFE000U;
    std::uint32_t result = detail::choose(magnitude < 0x38800000U, subnormal, normal);
    result = detail::choose(magnitude >= 0x477FF000U, 0x7F800000U, result);
    result = detail::choose(magnitude > 0x7F800000U, nan, result);
    return std::bit_cast<float>((bits & 0x80000000U) | result);
  }
};

/// bfloat16: the upper half of a float.
struct bfloat16 {
  /// Returns the nearest bfloat16; infinity when the value rounds past the largest finite one. A NaN keeps its sign and
  /// the upper bits of its payload, and becomes quiet.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE static constexpr std::uint16_t encode(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
    const std::uint32_t nan = (bits >> 16U) | 0x40U;
    return static_cast<std::uint16_t>(detail::choose((bits & 0x7FFFFFFFU) > 0x7F800000U, nan, rounded));
  }

  /// Returns the exact value of a bfloat16.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE static constexpr float decode(std::uint16_t half) {
    return std::bit_cast<float>(std::uint32_t{half} << 16U);
  }

  /// decode(encode(value)).
  [[nodiscard]] LOCKSTEP_HOST_DEVICE static constexpr float round(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = bits + 0x7FFFU + ((bits >> 16U) & 1U);
    const std::uint32_t result = detail::choose((bits & 0x7FFFFFFFU) > 0x7F800000U, bits | 0x400000U, rounded);
    return std::bit_cast<float>(result & 0xFFFF0000U);
  }
};

}  // namespace lockstep
