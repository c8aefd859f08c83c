// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/core/error.hpp>

/// \file
/// Builds messages from text and numbers. A chain of string additions at each of some forty messages would be several
/// times as much code to compile.

namespace lockstep::detail {

/// A part of a message: text, a whole number or a list of extents. It views the text or extents it is made from.
class message_part {
 public:
  // NOLINTBEGIN(google-explicit-constructor): callers write {"expected ", 3, " bytes"}.
  message_part(const char* text) : text_(text) {}
  message_part(std::string_view text) : text_(text) {}
  message_part(const std::string& text) : text_(text) {}
  message_part(std::span<const std::int64_t> extents) : extents_(extents), kind_(kind::extents) {}
  message_part(const std::vector<std::int64_t>& extents) : message_part(std::span<const std::int64_t>(extents)) {}
  template <std::unsigned_integral T>
  message_part(T number) : number_(number), kind_(kind::number) {}
  template <std::signed_integral T>
  message_part(T number)
      : number_(number < 0 ? 0U - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number)),
        kind_(number < 0 ? kind::negative : kind::number) {}
  // NOLINTEND(google-explicit-constructor)

  void append_to(std::string& message) const {
    if (kind_ == kind::text) message.append(text_);
    if (kind_ == kind::negative) message += '-';
    if (kind_ == kind::number || kind_ == kind::negative) message.append(std::to_string(number_));
    if (kind_ == kind::extents) append_extents(message);
  }

 private:
  enum class kind { text, number, negative, extents };

  void append_extents(std::string& message) const {
    message += '[';
    for (std::size_t i = 0; i < extents_.size(); ++i) {
      if (i != 0) message.append(", ");
      message_part(extents_[i]).append_to(message);
    }
    message += ']';
  }

  std::string_view text_;
  std::span<const std::int64_t> extents_;
  std::uint64_t number_ = 0;
  kind kind_ = kind::text;
};

/// Concatenates the parts.
[[nodiscard, gnu::cold]] inline std::string message(std::initializer_list<message_part> parts) {
  std::string text;
  for (const message_part& part : parts) part.append_to(text);
  return text;
}

/// Throws io_error about `file`, with the parts as the reason.
[[noreturn, gnu::cold]] inline void throw_io_error(std::string_view file, std::initializer_list<message_part> parts) {
  throw io_error(file, message(parts));
}

/// A name from a file, cut to a length that fits a message.
[[nodiscard]] inline std::string_view clipped(std::string_view name) { return name.substr(0, 120); }

}  // namespace lockstep::detail
