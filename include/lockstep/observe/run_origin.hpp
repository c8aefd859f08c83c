// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <lockstep/core/config.hpp>
#include <lockstep/observe/svg_text.hpp>

/// \file
/// Records when, where and with which software a run was made.

namespace lockstep {

namespace detail {

/// Version of this library: `0.1.0`.
[[nodiscard]] inline std::string version_text() {
  return std::to_string(LOCKSTEP_VERSION_MAJOR) + "." + std::to_string(LOCKSTEP_VERSION_MINOR) + "." +
         std::to_string(LOCKSTEP_VERSION_PATCH);
}

/// The compiler that compiles this header: `g++ 12.2.0`.
[[nodiscard]] inline std::string compiler_text() {
  const auto version = [](int major, int minor, int patch) {
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
  };
#if defined(__clang__)
  return "clang++ " + version(__clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return "g++ " + version(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
  static_cast<void>(version);
  return "unknown";
#endif
}

/// `time` as `2026-11-29 23:40 UTC`.
[[nodiscard]] inline std::string date_text(std::time_t time) {
  std::tm parts{};
  char text[40];
  if (::gmtime_r(&time, &parts) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts) == 0)
    return "unknown";
  return text;
}

/// The processor's name from /proc/cpuinfo; empty when it is not there.
[[nodiscard]] inline std::string processor_name() {
  std::string name;
  std::FILE* const file = std::fopen("/proc/cpuinfo", "re");
  if (file == nullptr) return name;
  for (char piece[256]; name.empty() && std::fgets(piece, sizeof piece, file) != nullptr;) {
    const std::string_view line(piece);
    const auto colon = line.find(": ");
    if (line.substr(0, 10) == "model name" && colon != std::string_view::npos)
      name = line.substr(colon + 2, line.find('\n') - colon - 2);
  }
  std::fclose(file);
  return name;
}

/// `host: AMD EPYC 9554, 2 processors, 23.5 GiB`; counts the processors that this process may use.
[[nodiscard]] inline std::string machine_text() {
  ::utsname system{};
  std::string text(::uname(&system) == 0 ? system.nodename : "unknown");
  text += ": ";
  if (const std::string name = processor_name(); !name.empty()) text.append(name).append(", ");
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    const int count = CPU_COUNT(&allowed);
    text.append(std::to_string(count)).append(count == 1 ? " processor, " : " processors, ");
  }
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) text.append(bytes_text(std::int64_t{pages} * page));
  return text;
}

/// `Linux 6.1.0 x86_64`
[[nodiscard]] inline std::string system_text() {
  ::utsname system{};
  if (::uname(&system) != 0) return "unknown";
  return std::string(system.sysname).append(" ").append(system.release).append(" ").append(system.machine);
}

}  // namespace detail

/// Pairs of name and text: the date, the machine, its system, the compiler of the calling code, the version of
/// lockstep.
[[nodiscard]] inline std::vector<std::pair<std::string, std::string>> run_origin() {
  return {{"date", detail::date_text(std::time(nullptr))},
          {"machine", detail::machine_text()},
          {"system", detail::system_text()},
          {"compiler", detail::compiler_text()},
          {"lockstep", detail::version_text()}};
}

}  // namespace lockstep
