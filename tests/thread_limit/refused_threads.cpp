// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it replaces a function of the C library.

// Threads that the system does not start. A program of its own, because it takes the place of pthread_create.

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <ranges>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <pthread.h>

#include <lockstep/comm/threads.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/stream.hpp>
#include <lockstep/data/synthetic.hpp>
#include <lockstep/lockstep.hpp>
#include <lockstep/parallel/predictor.hpp>
#include <lockstep/parallel/trainer/thread_team.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

std::atomic<int> created{0};     ///< calls of pthread_create
std::atomic<int> refused_at{0};  ///< the call that fails, counted from 1; 0: none

}  // namespace

// A sanitizer has a pthread_create of its own, which must see every thread.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LOCKSTEP_TEST_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKSTEP_TEST_SANITIZED
#endif

#if defined(LOCKSTEP_TEST_SANITIZED)
constexpr bool may_refuse = false;
#else
constexpr bool may_refuse = true;

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                              void* argument) noexcept {
  using function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto next = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "pthread_create"));
  const int number = created.fetch_add(1) + 1;
  return number == refused_at.load() ? EAGAIN : next(thread, attributes, run, argument);
}
#endif

namespace {

using net = ls::sequential<ls::linear<12, 8>, ls::relu, ls::linear<8, 3>>;
using classifier = ls::model<net, ls::input<12>, ls::cross_entropy>;

/// Threads of this process, as the kernel counts them.
int threads_alive() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "Threads:") {
      int count = 0;
      status >> count;
      return count;
    }
  return -1;
}

/// A joined thread may take a moment to leave the kernel's books.
bool only_alive(int expected) {
  for (int i = 0; i < 2000 && threads_alive() != expected; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return threads_alive() == expected;
}

/// Runs `work`, which starts `threads` threads, with each of them refused in turn: each time a resource_error whose
/// message holds `part`, and no thread is left behind. Then once with none refused.
template <class Work>
void check_each_refused(int threads, const std::string& part, Work work) {
  const int before = threads_alive();
  for (int k = 1; k <= threads; ++k) {
    INFO("thread " << k << " of " << threads);
    created = 0;
    refused_at = k;
    std::string message = "nothing was thrown";
    try {
      work();
    } catch (const ls::resource_error& error) {
      message = error.what();
    }
    refused_at = 0;
    INFO(message);
    CHECK(created == k);
    CHECK(message.find(part) != std::string::npos);
    CHECK(message.find("Resource temporarily unavailable") != std::string::npos);
    CHECK(message.find("raise the limit of threads (ulimit -u") != std::string::npos);
    CHECK(only_alive(before));
  }
  created = 0;
  work();
  CHECK(created == threads);
  CHECK(only_alive(before));
}

}  // namespace

TEST_CASE("a team whose thread is refused says so and leaves none behind", "[threads]") {
  if (!may_refuse) LOCKSTEP_SKIP("this sanitizer starts threads itself");
  check_each_refused(3, "lockstep: thread_team: expected thread ", [] { const ls::thread_team<4> team; });
}

TEST_CASE("a trainer whose thread is refused says so and leaves none behind", "[threads]") {
  if (!may_refuse) LOCKSTEP_SKIP("this sanitizer starts threads itself");
  // Two beside the caller's, and one that looks at the clock.
  check_each_refused(3, " to start, got the system's refusal", [] {
    ls::data_parallel<classifier, 3> trainer{
        ls::sgd{.learning_rate = 0.1F}, {}, {.time_limit = 60, .on_stall = [](const ls::stall_report&) {}}};
    const std::vector<float> inputs(12 * 6, 0.5F);
    const std::vector<std::int64_t> labels(6, 1);
    CHECK(trainer.step(ls::batch_view<const float, 12>(inputs.data(), 6), labels) > 0);
  });
}

TEST_CASE("a rank whose thread is refused says so and leaves none behind", "[threads]") {
  if (!may_refuse) LOCKSTEP_SKIP("this sanitizer starts threads itself");
  check_each_refused(2, " to start, got the system's refusal", [] {
    ls::comm::threads hub(1);
    const ls::data_parallel<classifier, 2, ls::comm::thread_rank> trainer{ls::sgd{.learning_rate = 0.1F}, hub.take(0)};
  });
}

TEST_CASE("a predictor whose thread is refused says so and leaves none behind", "[threads]") {
  if (!may_refuse) LOCKSTEP_SKIP("this sanitizer starts threads itself");
  check_each_refused(3, "lockstep: predictor: expected thread ", [] { const ls::predictor<classifier, 3> server; });
}

TEST_CASE("a loader whose thread is refused says so and can be walked later", "[threads]") {
  if (!may_refuse) LOCKSTEP_SKIP("this sanitizer starts threads itself");
  const auto pictures = ls::data::synthetic({.train_samples = 40, .test_samples = 4}).train;
  ls::data::loader batches(pictures, {.batch = 8, .shuffle = true, .seed = ls::seed{3}});
  std::vector<std::int64_t> labels;
  check_each_refused(1, "lockstep: loader: expected the thread that prepares batches to start", [&] {
    labels.clear();
    for (const auto& batch : batches) labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
  });
  // The walk that could not begin took no epoch.
  ls::data::loader fresh(pictures, {.batch = 8, .shuffle = true, .seed = ls::seed{3}});
  std::vector<std::int64_t> expected;
  for (const auto& batch : fresh) expected.insert(expected.end(), batch.labels.begin(), batch.labels.end());
  CHECK(labels == expected);
}

TEST_CASE("a stream whose loader's thread is refused keeps all its samples", "[threads]") {
  if (!may_refuse) LOCKSTEP_SKIP("this sanitizer starts threads itself");
  const auto check = [](auto samples) {
    ls::data::stream<ls::data::field<std::int64_t>> numbers(samples);
    ls::data::loader batches(numbers, {.batch = 4});
    std::vector<std::int64_t> seen;
    check_each_refused(1, "lockstep: loader: expected the thread that prepares batches to start", [&] {
      for (const auto& batch : batches) {
        const auto& [values] = batch;
        for (std::int64_t i = 0; i < batch.size(); ++i) seen.push_back(values[i]);
      }
    });
    CHECK(seen == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5});
  };
  // What can be read once, and a function whose calls count the walks.
  check([i = 0](std::int64_t& value) mutable { return value = i, i++ < 6; });
  int made = 0;
  check([&made] {
    ++made;
    return [i = 0](std::int64_t& value) mutable { return value = i, i++ < 6; };
  });
  CHECK(made == 1);
  std::istringstream text("0 1 2 3 4 5");
  check(std::views::istream<std::int64_t>(text));
}

TEST_CASE("a stream whose loader's thread was refused may be walked by another loader", "[threads]") {
  if (!may_refuse) LOCKSTEP_SKIP("this sanitizer starts threads itself");
  ls::data::stream<ls::data::field<std::int64_t>> numbers(
      [i = 0](std::int64_t& value) mutable { return value = i, i++ < 6; });
  ls::data::loader first(numbers, {.batch = 4});
  ls::data::loader second(numbers, {.batch = 4, .prefetch = 0});
  created = 0;
  refused_at = 1;
  CHECK_THROWS_AS(first.begin(), ls::resource_error);
  refused_at = 0;
  std::int64_t seen = 0;
  for (const auto& batch : second) seen += batch.size();
  CHECK(seen == 6);
}
