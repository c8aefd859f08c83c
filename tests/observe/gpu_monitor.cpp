// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <string>

#include <dlfcn.h>

#include <lockstep/observe/gpu_monitor.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

TEST_CASE("without a driver there is no GPU to read", "[gpu_monitor]") {
  ls::gpu_monitor monitor("libthere-is-no-such-library.so");
  CHECK(monitor.count() == 0);
  CHECK(monitor.read().empty());
  monitor.sample();
  CHECK(monitor.usage().empty());
  // A library that is something else.
  const ls::gpu_monitor other("libm.so.6");
  CHECK(other.count() == 0);
}

TEST_CASE("utilisation and memory come from the driver's library", "[gpu_monitor]") {
  void* library = dlopen(LOCKSTEP_FAKE_NVML, RTLD_NOW);
  REQUIRE(library != nullptr);
  const auto open_count = reinterpret_cast<int (*)()>(dlsym(library, "fake_nvml_open_count"));
  REQUIRE(open_count != nullptr);
  {
    ls::gpu_monitor monitor(LOCKSTEP_FAKE_NVML);
    CHECK(open_count() == 1);
    REQUIRE(monitor.count() == 2);
    const auto now = monitor.read();
    REQUIRE(now.size() == 2);
    CHECK(now[0].name == "Fake A 0");
    CHECK(now[0].busy_percent == 40);
    CHECK(now[0].memory_used == 800);
    CHECK(now[0].memory_total == 1000);
    CHECK(now[1].name == "Fake B 1");
    CHECK(now[1].busy_percent == -1);

    monitor.sample();  // 60 and 80 per cent, less and less memory
    monitor.sample();
    const auto usage = monitor.usage();
    REQUIRE(usage.size() == 2);
    CHECK(usage[0].busy == Approx(0.7));
    CHECK(usage[0].memory_peak == 700);
    CHECK(std::isnan(usage[1].busy));
    CHECK(usage[1].memory_peak == 300);
    CHECK(usage[1].memory_total == 1000);
  }
  CHECK(open_count() == 0);
  dlclose(library);
}
