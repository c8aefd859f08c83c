// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Counts allocations of the process while a flag is up, by replacing the allocation functions of C and C++ in this
// program. Only then do the replacements do anything but pass a request on. The sanitizers replace the same functions,
// so nothing is replaced under them.
#include "allocations.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !__has_include(<gnu/libc-version.h>)

lockstep_test::allocation_count lockstep_test::count_allocations(const std::function<void()>& action) {
  action();
  return {};
}

#else

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <string_view>

#include <dlfcn.h>

extern "C" {
// glibc's own functions under the names that nobody replaces.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* pointer, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* pointer);
}

namespace {

std::atomic<bool> counting{false};
std::atomic<std::size_t> requests{0};
std::array<std::atomic<void*>, 65536> callers{};

// Only the return address is kept; it is looked up when counting is over, since a look-up might allocate.
void note(void* caller) {
  if (!counting.load(std::memory_order_relaxed)) return;
  const std::size_t index = requests.fetch_add(1, std::memory_order_relaxed);
  if (index < callers.size()) callers[index].store(caller, std::memory_order_relaxed);
}

void* allocate(std::size_t size, std::size_t alignment, void* caller) {
  note(caller);
  return alignment <= alignof(std::max_align_t) ? __libc_malloc(size) : __libc_memalign(alignment, size);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment, void* caller) {
  void* pointer = allocate(size == 0 ? 1 : size, alignment, caller);
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

/// The file that an address belongs to, and the function's name where it is known.
Dl_info place_of(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) info.dli_fname = "an unknown file";
  return info;
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) noexcept {
  note(__builtin_return_address(0));
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  note(__builtin_return_address(0));
  return __libc_calloc(count, size);
}
void* realloc(void* pointer, std::size_t size) noexcept {
  note(__builtin_return_address(0));
  return __libc_realloc(pointer, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** pointer, std::size_t alignment, std::size_t size) noexcept {
  note(__builtin_return_address(0));
  void* fresh = __libc_memalign(alignment, size);
  if (fresh == nullptr) return ENOMEM;
  *pointer = fresh;
  return 0;
}
void free(void* pointer) noexcept { __libc_free(pointer); }

}  // extern "C"

void* operator new(std::size_t n) { return allocate_or_throw(n, 0, __builtin_return_address(0)); }
void* operator new[](std::size_t n) { return allocate_or_throw(n, 0, __builtin_return_address(0)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return allocate(n, 0, __builtin_return_address(0));
}
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return allocate(n, 0, __builtin_return_address(0));
}
void* operator new(std::size_t n, std::align_val_t a) {
  return allocate_or_throw(n, static_cast<std::size_t>(a), __builtin_return_address(0));
}
void* operator new[](std::size_t n, std::align_val_t a) {
  return allocate_or_throw(n, static_cast<std::size_t>(a), __builtin_return_address(0));
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(n, static_cast<std::size_t>(a), __builtin_return_address(0));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(n, static_cast<std::size_t>(a), __builtin_return_address(0));
}
void operator delete(void* p) noexcept { __libc_free(p); }
void operator delete[](void* p) noexcept { __libc_free(p); }
void operator delete(void* p, std::size_t) noexcept { __libc_free(p); }
void operator delete[](void* p, std::size_t) noexcept { __libc_free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { __libc_free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { __libc_free(p); }
void operator delete(void* p, std::align_val_t) noexcept { __libc_free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { __libc_free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { __libc_free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { __libc_free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { __libc_free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { __libc_free(p); }

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
