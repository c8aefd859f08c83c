// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include <fmt/core.h>
#include <CLI/Error.hpp>

#include <lockstep/core/error.hpp>

/// \file
/// What small programs with flags have in common: exit codes, and one line on stderr for whatever went wrong.

namespace small_program {

inline constexpr int done = 0;
inline constexpr int failure = 1;
inline constexpr int bad_input = 2;

/// One line on stderr. The library's messages carry its own name in front, which gives way to the program's.
inline int complain(std::string_view program, std::string_view message, int code) {
  constexpr std::string_view prefix = "lockstep: ";
  if (message.substr(0, prefix.size()) == prefix) message.remove_prefix(prefix.size());
  std::string line(message);
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print(stderr, "{}: {}\n", program, line);
  return code;
}

/// Returns what the body returns, an exit code, once its output is written; or complains of what it throws.
template <class Body>
int run(std::string_view program, const Body& body) {
  // The reader of a pipe that goes away is then told of like a full disk, instead of ending the program without a word.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    const int code = body();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      return complain(program, "the output cannot be written", failure);
    return code;
  } catch (const CLI::ParseError& error) {
    return complain(program, std::string(error.what()) + "; --help lists the flags", bad_input);
  } catch (const lockstep::error& error) {
    return complain(program, error.what(), bad_input);
  } catch (const std::bad_alloc&) {
    return complain(program, "the memory is not enough", failure);
  } catch (const std::exception& error) {
    return complain(program, error.what(), failure);
  }
}

}  // namespace small_program
