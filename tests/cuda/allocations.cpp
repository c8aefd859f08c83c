// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it replaces the functions that allocate.
//
// Counts allocations of the process while a flag is up, by replacing the allocation functions of C and C++ in this
// program. Only then do the replacements do anything but pass a request on. The sanitizers replace the same functions,
// so nothing is replaced under them.
#include "allocations.hpp"

#include "support/sanitized.hpp"

#if LOCKSTEP_TEST_SANITIZED() || !__has_include(<gnu/libc-version.h>)

bool lockstep_test::counts_allocations() { return false; }

lockstep_test::allocation_count lockstep_test::count_allocations(const std::function<void()>& action) {
  action();
  return {};
}

#else

#include <algorithm>
#include <string_view>

#include <dlfcn.h>

#include "support/replaced_allocation.hpp"

namespace {

/// The file that an address belongs to, and the function's name where it is known.
Dl_info place_of(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) info.dli_fname = "an unknown file";
  return info;
}

}  // namespace

bool lockstep_test::counts_allocations() { return true; }

lockstep_test::allocation_count lockstep_test::count_allocations(const std::function<void()>& action) {
  requests.store(0);
  counting.store(true);
  action();
  counting.store(false);
  allocation_count count{.own = 0, .all = requests.load(), .first = {}};
  const std::string_view program = place_of(reinterpret_cast<const void*>(&count_allocations)).dli_fname;
  for (std::size_t i = 0; i < std::min(count.all, callers.size()); ++i) {
    const Dl_info place = place_of(callers[i].load());
    const std::string_view file = place.dli_fname;
    if (file != program && file.find("libstdc++") == std::string_view::npos) continue;
    if (count.own++ > 0) continue;
    count.first = file;
    if (place.dli_sname != nullptr) count.first.append(": ").append(place.dli_sname);
  }
  count.own += count.all - std::min(count.all, callers.size());
  return count;
}

#endif
