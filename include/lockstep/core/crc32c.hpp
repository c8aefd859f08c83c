// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <lockstep/core/config.hpp>

namespace lockstep {

namespace detail {

/// Table k moves a byte on by k further bytes, so that eight lookups take eight bytes at once.
inline constexpr auto crc32c_tables = [] {
  constexpr std::uint32_t polynomial = 0x82F63B78U;  // 0x1EDC6F41 with its bits in reverse
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1U) ^ ((sum & 1U) != 0 ? polynomial : 0U);
    tables[0][byte] = sum;
  }
  for (std::size_t k = 1; k < tables.size(); ++k)
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8U) ^ tables[0][before & 0xFFU];
    }
  return tables;
}();

[[nodiscard]] inline std::uint32_t crc32c_byte(std::uint32_t sum, std::byte byte) noexcept {
  return (sum >> 8U) ^ crc32c_tables[0][(sum ^ static_cast<std::uint32_t>(byte)) & 0xFFU];
}

/// Takes eight bytes, of which the first is the lowest of `word`.
[[nodiscard]] inline std::uint32_t crc32c_word_by_tables(std::uint32_t sum, std::uint64_t word) noexcept {
  word ^= sum;
  std::uint32_t next = 0;
  for (std::size_t k = 0; k < 8; ++k) next ^= crc32c_tables[7 - k][(word >> (8 * k)) & 0xFFU];
  return next;
}

/// Calls word(sum, eight bytes) as often as `bytes` has eight.
template <class Word>
[[nodiscard]] std::uint32_t crc32c_of(std::uint32_t sum, std::span<const std::byte> bytes, const Word& word) noexcept {
  for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t))) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes.data(), sizeof(eight));
    sum = word(sum, eight);
  }
  for (const std::byte byte : bytes) sum = crc32c_byte(sum, byte);
  return sum;
}

[[nodiscard]] inline std::uint32_t crc32c_by_tables(std::uint32_t sum, std::span<const std::byte> bytes) noexcept {
  return crc32c_of(sum, bytes, [](std::uint32_t s, std::uint64_t word) { return crc32c_word_by_tables(s, word); });
}

/// Whether the processor has an instruction for it.
[[nodiscard]] inline bool has_crc32c_instruction() noexcept {
#if LOCKSTEP_X86_64()
  static const bool yes = __builtin_cpu_supports("sse4.2") != 0;
  return yes;
#else
  return false;
#endif
}

[[nodiscard]] inline std::uint32_t crc32c_by_instruction(std::uint32_t sum, std::span<const std::byte> bytes) noexcept {
#if LOCKSTEP_X86_64()
  return crc32c_of(sum, bytes, [](std::uint32_t s, std::uint64_t word) {
    std::uint64_t wide = s;
    asm("crc32q %1, %0" : "+r"(wide) : "rm"(word));
    return static_cast<std::uint32_t>(wide);
  });
#else
  return crc32c_by_tables(sum, bytes);
#endif
}

}  // namespace detail

/// The CRC-32C (Castagnoli) of bytes that arrive piece by piece, as in iSCSI, ext4 and LevelDB. It notices every change
/// within 32 bits in a row, and any other with all but one in 2^32.
/// Source: RFC 3720, appendix B.4.
class crc32c {
 public:
  void add(std::span<const std::byte> bytes) noexcept {
    sum_ = detail::has_crc32c_instruction() ? detail::crc32c_by_instruction(sum_, bytes)
                                            : detail::crc32c_by_tables(sum_, bytes);
  }

  [[nodiscard]] std::uint32_t value() const noexcept { return ~sum_; }

  /// The value as eight hexadecimal digits.
  [[nodiscard]] std::string text() const {
    std::string digits(8, '0');
    for (std::size_t i = 0; i < digits.size(); ++i) digits[7 - i] = "0123456789abcdef"[(value() >> (4 * i)) & 0xFU];
    return digits;
  }

 private:
  std::uint32_t sum_ = 0xFFFFFFFFU;
};

}  // namespace lockstep
