// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/error.hpp>
#include <lockstep/comm/thread_group.hpp>

namespace lockstep::comm {

namespace detail {

/// a[i] += b[i] for i < n.
template <class T>
void add(T* LOCKSTEP_RESTRICT a, const T* LOCKSTEP_RESTRICT b, std::size_t n) {
  constexpr std::size_t lanes = 64 / sizeof(T);  // a constant, so that the compiler vectorises at -O2 too
  const std::size_t whole = n - n % lanes;
  for (std::size_t i = 0; i < whole; i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) a[i + lane] += b[i + lane];
  for (std::size_t i = whole; i < n; ++i) a[i] += b[i];
}

}  // namespace detail

/// The communicator of one rank in a group of threads. Move it to the thread that works as this rank; it keeps alive
/// what the ranks share. A call that succeeds allocates nothing.
///
/// Every call can throw communicator_error:
/// - the ranks disagree about the call, its length, element type or root, or the root does not exist: all ranks get an
///   exception that names the calls or the root; no buffer is touched, and the group remains usable;
/// - a rank is gone (its communicator was destroyed or aborted): the others get an exception that names it and its
///   last call;
/// - the time limit has passed: all ranks get an exception that names the ranks that had not come.
/// After either of the last two, every call throws.
class thread_rank {
 public:
  thread_rank(thread_rank&& other) noexcept = default;
  thread_rank& operator=(thread_rank&& other) noexcept {
    if (this != &other) {
      leave();
      group_ = std::move(other.group_);
      rank_ = other.rank_;
    }
    return *this;
  }
  ~thread_rank() { leave(); }

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return group_->size(); }

  /// Sums over the ranks as a balanced binary tree over 0..W-1. The tree splits the ranks at the largest power of two
  /// below W, and each part in the same way: for W = 4 the result is (0 + 1) + (2 + 3), and for W = 5 that plus 4. The
  /// buffers of different ranks must not overlap.
  ///
  /// Each rank sums one slice of all buffers in place and copies the sum to every buffer. Cost per rank: W reads and W
  /// writes of 1/W of the buffer, two barriers, no other memory.
  void all_reduce(std::span<float> values) { sum("float", values); }
  void all_reduce(std::span<double> values) { sum("double", values); }

  /// Copies the root's buffer to every rank's.
  void broadcast(std::span<float> values, int root) { copy("float", values, root); }
  void broadcast(std::span<double> values, int root) { copy("double", values, root); }

  /// Returns when every rank has called it.
  void barrier() { group_->enter(rank_, {}); }

  /// Leaves the group for good; the other ranks' exceptions carry the reason. For a rank that has failed while its
  /// communicator lives on.
  void abort(std::string_view reason = {}) {
    std::string how = "aborted";
    if (!reason.empty()) how.append(" (").append(reason).append(")");
    group_->leave(rank_, std::move(how));
  }

 private:
  friend class threads;

  thread_rank(std::shared_ptr<detail::thread_group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  void leave() noexcept {
    if (group_ != nullptr) group_->leave(rank_, "left");
  }

  template <class T>
  [[nodiscard]] T* buffer(int r) const {
    return static_cast<T*>(group_->brought(r).data);
  }

  template <class T>
  void sum(const char* element, std::span<T> values) {
    group_->enter(rank_, {.name = "all_reduce", .element = element, .length = values.size(), .data = values.data()});
    const auto world = static_cast<std::size_t>(size());
    constexpr std::size_t line = 64 / sizeof(T);
    const std::size_t lines = (values.size() + line - 1) / line;
    const auto own = static_cast<std::size_t>(rank_);
    const std::size_t first = (std::min)(values.size(), lines * own / world * line);
    const std::size_t last = (std::min)(values.size(), lines * (own + 1) / world * line);
    // Short enough for the first-level cache to hold the blocks of several ranks.
    constexpr std::size_t block = 4096 / sizeof(T);
    for (std::size_t at = first; at < last; at += block) reduce_block<T>(at, (std::min)(block, last - at));
    group_->finish();
  }

  /// Replaces elements at .. at + n - 1 of every rank's buffer by their sum over the ranks. Doubling strides give the
  /// tree above: at stride s, the block of each rank k that is a multiple of s holds the sum of ranks
  /// k .. min(k + s, W) - 1.
  template <class T>
  void reduce_block(std::size_t at, std::size_t n) const {
    const int world = size();
    for (int stride = 1; stride < world; stride *= 2)
      for (int k = 0; k + stride < world; k += 2 * stride)
        detail::add(buffer<T>(k) + at, buffer<T>(k + stride) + at, n);
    for (int k = 1; k < world; ++k) std::memcpy(buffer<T>(k) + at, buffer<T>(0) + at, n * sizeof(T));
  }

  template <class T>
  void copy(const char* element, std::span<T> values, int root) {
    group_->enter(
        rank_, {.name = "broadcast", .element = element, .length = values.size(), .root = root, .data = values.data()});
    if (rank_ != root && !values.empty()) std::memcpy(values.data(), buffer<T>(root), values.size_bytes());
    group_->finish();
  }

  std::shared_ptr<detail::thread_group> group_;
  int rank_ = 0;
};

static_assert(communicator<thread_rank>);

struct threads_options {
  /// Seconds that a rank waits for the others to enter a call; 0 for no limit.
  double time_limit = 0;
};

/// The hub of the ranks of one process: make it once for `world` ranks, and take each rank's communicator from it.
///
///   comm::threads hub(2);
///   std::thread other([rank = hub.take(1)]() mutable { train(rank); });
///   train(hub.take(0));
///
/// Communicators may outlive the hub; when it is destroyed, a rank that was never taken counts as gone.
class threads {
 public:
  /// Throws value_error when there is no rank, or the time limit is not a number of seconds from 0 to a year.
  explicit threads(int world, threads_options options = {}) {
    if (world < 1) throw value_error("threads", "one rank or more", std::to_string(world));
    if (!std::isfinite(options.time_limit) || options.time_limit < 0 || options.time_limit > 366.0 * 24 * 3600)
      throw value_error("threads", "a time limit from 0 seconds (none) to a year", std::to_string(options.time_limit));
    group_ = std::make_shared<detail::thread_group>(world, options.time_limit);
  }

  threads(const threads&) = delete;
  threads& operator=(const threads&) = delete;
  ~threads() { group_->close(); }

  [[nodiscard]] int size() const noexcept { return group_->size(); }

  /// Returns the communicator of a rank. May be called on any thread. Throws value_error for a rank that does not exist
  /// or has been taken.
  [[nodiscard]] thread_rank take(int rank) {
    if (rank < 0 || rank >= size())
      throw value_error("threads::take", "a rank from 0 to " + std::to_string(size() - 1), std::to_string(rank));
    group_->take(rank);
    return {group_, rank};
  }

 private:
  std::shared_ptr<detail::thread_group> group_;
};

}  // namespace lockstep::comm
