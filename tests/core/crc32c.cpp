// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <lockstep/core/crc32c.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

std::uint32_t sum_of(std::span<const std::byte> bytes) {
  ls::crc32c sum;
  sum.add(bytes);
  return sum.value();
}

/// Bit by bit, straight from the polynomial.
std::uint32_t slow_sum_of(std::span<const std::byte> bytes) {
  std::uint32_t sum = 0xFFFFFFFFU;
  for (const std::byte byte : bytes)
    for (unsigned bit = 0; bit < 8; ++bit) {
      const std::uint32_t low = (sum ^ (static_cast<std::uint32_t>(byte) >> bit)) & 1U;
      sum = (sum >> 1U) ^ (low != 0 ? 0x82F63B78U : 0U);
    }
  return ~sum;
}

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < count; ++i) bytes.push_back(static_cast<std::byte>(i * i * 7 + i / 3));
  return bytes;
}

}  // namespace

TEST_CASE("CRC-32C has the values of RFC 3720", "[crc32c]") {
  CHECK(sum_of(std::vector<std::byte>(32, std::byte{0})) == 0x8A9136AAU);
  CHECK(sum_of(std::vector<std::byte>(32, std::byte{0xFF})) == 0x62A8AB43U);
  std::vector<std::byte> rising(32);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<std::byte>(i);
  CHECK(sum_of(rising) == 0x46DD794EU);
  constexpr std::string_view digits = "123456789";
  CHECK(sum_of(std::as_bytes(std::span(digits.data(), digits.size()))) == 0xE3069283U);
  ls::crc32c empty;
  CHECK(empty.text() == "00000000");
  empty.add(std::as_bytes(std::span(digits.data(), digits.size())));
  CHECK(empty.text() == "e3069283");
}

TEST_CASE("CRC-32C by tables and by the processor's instruction agree with the definition", "[crc32c]") {
  const auto bytes = some_bytes(300);
  for (std::size_t first = 0; first < 9; ++first)
    for (std::size_t count = 0; first + count <= bytes.size(); count += count < 20 ? 1 : 37) {
      const auto part = std::span(bytes).subspan(first, count);
      const std::uint32_t expected = slow_sum_of(part);
      CHECK(~ls::detail::crc32c_by_tables(0xFFFFFFFFU, part) == expected);
      if (ls::detail::has_crc32c_instruction())
        CHECK(~ls::detail::crc32c_by_instruction(0xFFFFFFFFU, part) == expected);
    }
}

TEST_CASE("CRC-32C does not depend on the pieces", "[crc32c]") {
  const auto bytes = some_bytes(100);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    ls::crc32c sum;
    sum.add(std::span(bytes).first(cut));
    sum.add(std::span(bytes).subspan(cut));
    CHECK(sum.value() == slow_sum_of(bytes));
  }
}
