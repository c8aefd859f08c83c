// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <csignal>
#include <functional>
#include <optional>

#include <sys/wait.h>
#include <unistd.h>

#include "support/catch.hpp"

namespace lockstep_test {

/// What a forked child's call of f comes to: its exit status, or nothing when it has not ended after 20 seconds.
inline std::optional<int> in_child(const std::function<int()>& f) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(f());
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return {};
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace lockstep_test
