// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

/// \file
/// Formats text and numbers for a page.

namespace lockstep::detail {

inline void add(std::string& out, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) out.append(part);
}

/// Escapes text for an element or a quoted attribute. Control characters, which XML forbids, become U+FFFD.
[[nodiscard]] inline std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '"':
        out.append("&quot;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')
          out.append("\xEF\xBF\xBD");
        else
          out += c;
    }
  }
  return out;
}

/// The length of the unit (`%`, `ms`, `MiB`) that `text` begins with as a whole word; 0 without one.
[[nodiscard]] inline std::size_t unit_length(std::string_view text) {
  constexpr std::array<std::string_view, 13> units{"%", "ns",  "\u00B5s", "ms",  "s",   "min", "h",
                                                   "B", "KiB", "MiB",     "GiB", "TiB", "PiB"};
  const std::string_view word = text.substr(0, text.find_first_of(" ,.;:)\n"));
  for (const std::string_view unit : units)
    if (word == unit) return unit.size();
  return 0;
}

/// Escapes text and joins each number to its unit with a no-break space, which keeps both on one line.
[[nodiscard]] inline std::string prose(std::string_view text) {
  std::string joined;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool after_digit = i > 0 && text[i - 1] >= '0' && text[i - 1] <= '9';
    if (text[i] == ' ' && after_digit && unit_length(text.substr(i + 1)) > 0)
      joined.append("\u00A0");
    else
      joined += text[i];
  }
  return escaped(joined);
}

/// Lets escaped text break after each slash, for paths.
[[nodiscard]] inline std::string with_breaks(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '/') out.append("<wbr/>");
  }
  return out;
}

/// `value` with `decimals` digits after the point.
[[nodiscard]] inline std::string fixed(double value, int decimals) {
  char digits[400];  // the largest double has 309 digits before the point
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, decimals);
  return {digits, end.ptr};
}

/// `value` with at most `digits` digits, in plain or scientific notation, whichever is shorter; `nan` and `inf` for
/// those.
[[nodiscard]] inline std::string general(double value, int digits = 4) {
  char text[400];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::general, digits);
  return {text, end.ptr};
}

/// `value` in [0, 1000) with three digits: `1.23`, `12.3`, `123`.
[[nodiscard]] inline std::string three_digits(double value) {
  return fixed(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

/// 0.0012 -> `1.20 ms`.
[[nodiscard]] inline std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds >= 7200) return fixed(seconds / 3600, 1) + " h";
  if (seconds >= 120) return fixed(seconds / 60, 1) + " min";
  if (seconds >= 0.9995) return three_digits(seconds) + " s";
  if (seconds >= 0.9995e-3) return three_digits(seconds * 1e3) + " ms";
  if (seconds >= 0.9995e-6) return three_digits(seconds * 1e6) + " \u00B5s";
  return fixed(seconds * 1e9, 0) + " ns";
}

/// 2628648 -> `2.51 MiB`.
[[nodiscard]] inline std::string bytes_text(std::int64_t bytes) {
  constexpr std::array<std::string_view, 5> units{" KiB", " MiB", " GiB", " TiB", " PiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1023.5 && unit + 1 < units.size(); ++unit) value /= 1024;
  return three_digits(value).append(units[unit]);
}

/// 0.4567 -> `45.7 %`.
[[nodiscard]] inline std::string percent_text(double share) {
  return std::isfinite(share) ? fixed(100 * share, 1) + " %" : std::string("-");
}

}  // namespace lockstep::detail
