// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// How an error describes a thread that did not start.
struct thread_request {
  std::string_view where{};   ///< who asked for the thread
  std::string which{};        ///< `thread 2 of 3`
  std::string_view advice{};  ///< how to need fewer threads
};

[[noreturn, gnu::cold, gnu::noinline]] inline void throw_no_thread(const thread_request& request,
                                                                   const std::system_error& reason) {
  throw resource_error(
      request.where, request.which + " to start", "the system's refusal (" + reason.code().message() + ")",
      "raise the limit of threads (ulimit -u, or pids.max of the container), or " + std::string(request.advice));
}

/// Starts a thread that runs `work`. Throws resource_error when the system refuses.
template <class Work>
[[nodiscard]] std::thread start_thread(const thread_request& request, Work&& work) {
  try {
    return std::thread(std::forward<Work>(work));
  } catch (const std::system_error& reason) {
    throw_no_thread(request, reason);
  }
}

/// Names the k-th of n threads, k counted from 1: `thread 2 of 3`.
[[nodiscard, gnu::cold, gnu::noinline]] inline std::string thread_of(int k, int n) {
  return "thread " + std::to_string(k) + " of " + std::to_string(n);
}

}  // namespace lockstep::detail
