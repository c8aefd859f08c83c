// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>

#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

namespace lockstep::detail {

/// Tells a forked child from the process that made the object. Threads do not survive fork(): a child that waits for
/// one waits for ever. The check costs one read of a page that the kernel clears in the child (Linux 4.14). Where the
/// kernel cannot do that, the check compares process numbers, which costs a call.
class fork_guard {
 public:
  fork_guard() noexcept : owner_(getpid()) {
    void* page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
#if defined(MADV_WIPEONFORK)
    if (madvise(page, size, MADV_WIPEONFORK) == 0) {
      mark_ = static_cast<volatile char*>(page);
      *mark_ = 1;
      return;
    }
#endif
    munmap(page, size);
  }
  fork_guard(const fork_guard&) = delete;
  fork_guard& operator=(const fork_guard&) = delete;
  ~fork_guard() {
    if (mark_ != nullptr) munmap(const_cast<char*>(mark_), size);
  }

  /// True in a child of the process that made the object.
  [[nodiscard]] bool crossed() const noexcept { return mark_ != nullptr ? *mark_ == 0 : getpid() != owner_; }

 private:
  static constexpr std::size_t size = 4096;

  volatile char* mark_ = nullptr;
  pid_t owner_;
};

}  // namespace lockstep::detail
