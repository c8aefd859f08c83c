// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/run_origin.hpp>

#include <string>

#include <unistd.h>

#include <lockstep/core/config.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

TEST_CASE("a run's origin names date, machine and version", "[report]") {
  CHECK(ls::detail::date_text(1'764'459'600) == "2025-11-29 23:40 UTC");
  CHECK(ls::detail::version_text() == std::to_string(LOCKSTEP_VERSION_MAJOR) + "." +
                                          std::to_string(LOCKSTEP_VERSION_MINOR) + "." +
                                          std::to_string(LOCKSTEP_VERSION_PATCH));
  char host[256] = {};
  REQUIRE(::gethostname(host, sizeof host - 1) == 0);
  CHECK(ls::detail::machine_text().rfind(std::string(host) + ": ", 0) == 0);
  CHECK(ls::detail::machine_text().find(" processor") != std::string::npos);
  CHECK(ls::detail::system_text().rfind("Linux ", 0) == 0);
  CHECK(ls::detail::compiler_text().find_first_of("0123456789") != std::string::npos);
  const auto origin = ls::run_origin();
  REQUIRE(origin.size() == 5);
  CHECK(origin[0].first == "date");
  CHECK(origin[0].second.size() == std::string("2025-11-29 23:40 UTC").size());
}
