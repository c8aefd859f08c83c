# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes include/lockstep/data/text/unicode_categories.hpp from Python's Unicode data:

    python cmake/generate_unicode_categories.py

Letters are the categories L*, numbers N*, spaces the property White_Space.
"""

import pathlib
import unicodedata

OTHER, LETTER, NUMBER, SPACE = range(4)
# Unicode's PropList.txt; fixed since Unicode 6.3.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F,
               0x3000}

HEADER = """\
// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

/// \\file
/// What kind of character a code point is, of Unicode {version}. Written by cmake/generate_unicode_categories.py.

namespace lockstep::data::detail {{

/// A letter is of one of the categories L*, a number of one of N*; a space has the property White_Space.
enum class character : std::uint8_t {{ other, letter, number, space }};

/// Where runs of characters of one kind begin: code point << 2 | kind, in ascending order.
// clang-format off
inline constexpr std::array<std::uint32_t, {count}> character_runs{{
{rows}}};
// clang-format on

/// The kind of a code point.
[[nodiscard]] constexpr character kind_of_character(char32_t code) {{
  // The first run that begins behind it; its kind does not matter, since every kind is below 4.
  const auto* const behind =
      std::upper_bound(character_runs.begin(), character_runs.end(), static_cast<std::uint32_t>(code) << 2U | 3U);
  return static_cast<character>(*(behind - 1) & 3U);
}}

}}  // namespace lockstep::data::detail
"""


def kind(code):
    if code in WHITE_SPACE:
        return SPACE
    return {"L": LETTER, "N": NUMBER}.get(unicodedata.category(chr(code))[0], OTHER)


def rows_of(numbers, width=118):
    rows = line = ""
    for text in (f"{number}," for number in numbers):
        if line and len(line) + 1 + len(text) > width:
            rows, line = rows + f"  {line}\n", ""
        line += (" " if line else "") + text
    return rows + f"  {line}\n"


def main():
    runs, last = [], None
    for code in range(0x110000):
        now = kind(code)
        if now != last:
            runs.append(code << 2 | now)
        last = now
    text = HEADER.format(version=unicodedata.unidata_version, count=len(runs), rows=rows_of(runs))
    root = pathlib.Path(__file__).resolve().parent.parent
    (root / "include/lockstep/data/text/unicode_categories.hpp").write_text(text)


if __name__ == "__main__":
    main()
