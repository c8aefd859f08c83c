// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/threads.hpp>
#include <lockstep/core/random.hpp>

namespace comm_test {

namespace ls = lockstep;

/// Runs f(communicator) as every rank of a group, each in a thread of its own, which gives the communicator back to
/// nobody: it is destroyed when f returns. The messages of the exceptions by rank; empty: none.
template <class F>
std::vector<std::string> run_ranks(int world, const F& f, ls::comm::threads_options options = {}) {
  std::vector<std::string> messages(static_cast<std::size_t>(world));
  ls::comm::threads hub(world, options);
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r)
    threads.emplace_back([&f, &message = messages[static_cast<std::size_t>(r)], rank = hub.take(r)]() mutable {
      ls::comm::thread_rank own = std::move(rank);
      try {
        f(own);
      } catch (const ls::communicator_error& e) {
        message = e.what();
      } catch (const std::exception& e) {
        message = std::string("another exception: ") + e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  return messages;
}

/// Draw i of stream (seed, a) in [-1, 1).
inline float draw(std::uint64_t seed, std::uint64_t a, std::size_t i) {
  return 2.F * ls::random_stream(ls::seed{seed}, ls::random_purpose::synthetic_data, a).uniform(i) - 1.F;
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace comm_test
