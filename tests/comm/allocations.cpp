// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it replaces operators new and delete.
//
// Counts the allocations of the process while a flag is up, by replacing C++'s allocation functions in this program.
// The sanitizers replace the same functions, so this file is empty under them.

#include "support/sanitized.hpp"

#if !LOCKSTEP_TEST_SANITIZED()

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include <lockstep/comm/compress.hpp>
#include <lockstep/comm/powersgd.hpp>
#include <lockstep/comm/simulated_link.hpp>

#include "comm/ranks.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void* allocate(std::size_t size, std::size_t alignment) {
  if (counting.load()) allocations.fetch_add(1);
  const std::size_t rounded = (size + alignment) / alignment * alignment;  // a multiple, and never zero
  if (void* p = std::aligned_alloc(alignment, rounded)) return p;
  throw std::bad_alloc();
}

// Out of line: a compiler that sees `free` behind `delete` takes it for a slip.
[[gnu::noinline]] void release(void* p) noexcept { std::free(p); }

}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }

TEST_CASE("collectives and hooks allocate nothing after their first step", "[comm][allocations]") {
  {
    counting = true;
    const std::vector<int> seen(3);
    counting = false;
    REQUIRE(allocations.exchange(0) == (seen.size() == 3 ? 1 : 0));
  }
  const auto messages = comm_test::run_ranks(3, [&](ls::comm::thread_rank& rank) {
    ls::simulated_link c{std::move(rank), {.latency = 1e-6}};
    ls::fp16_hook rounding({.error_feedback = true});
    ls::powersgd_hook low_rank({.rank = 2, .start_iteration = 0});
    std::vector<float> gradients(1000, 1.F);
    std::vector<double> wide(10, 1.0);
    const std::vector<ls::bucket_tensor> tensors{{0, 20, 40}, {800, 200, 1}};
    const ls::bucket_view bucket{.index = 0, .gradients = gradients, .tensors = tensors};
    const auto step = [&] {
      rounding(c, bucket);
      low_rank(c, bucket);
      c.all_reduce(gradients);
      c.all_reduce(wide);
      c.broadcast(gradients, 1);
    };
    step();
    c.barrier();
    if (c.rank() == 0) counting = true;
    c.barrier();
    for (int i = 0; i < 5; ++i) step();
    c.barrier();
    if (c.rank() == 0) counting = false;
    c.barrier();
  });
  counting = false;
  for (const auto& m : messages) CHECK(m.empty());
  CHECK(allocations.load() == 0);
}

#endif
