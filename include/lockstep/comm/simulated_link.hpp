// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/wire.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep {

/// The link that `simulated_link` pretends to have between neighbours of a ring.
struct link_options {
  double latency = 0;                                          ///< seconds per hop
  double bandwidth = std::numeric_limits<double>::infinity();  ///< bits per second and direction
  int world = 0;  ///< machines on the ring; 0: the number of the wrapped communicator's ranks
};

/// Wraps a communicator and makes its collectives last at least as long as they would on a ring of W machines:
///
///   all_reduce  2 (W - 1) latency + 2 (W - 1) / W bytes / bandwidth   (reduce-scatter, then all-gather)
///   broadcast     (W - 1) latency +               bytes / bandwidth   (pipelined round the ring)
///
/// W may exceed the number of ranks, so that one process can measure how long W machines would wait; sums are those of
/// the wrapped ranks. The link is serial: a call returns when its last byte has arrived, so the next call finds the
/// link free. Time counts from the moment all ranks have entered the call. A waiting rank sleeps and leaves its core to
/// others, except for about the last 50 microseconds. `barrier` goes to the wrapped communicator and adds no wait.
template <communicator C>
class simulated_link {
 public:
  /// Throws value_error for a latency or a world size below zero, and for a bandwidth that is not above zero.
  explicit simulated_link(C inner, const link_options& options = {}) : inner_(std::move(inner)), options_(options) {
    if (!std::isfinite(options.latency) || options.latency < 0)
      throw value_error("simulated_link", "a latency of zero seconds or more", std::to_string(options.latency));
    if (!(options.bandwidth > 0))
      throw value_error("simulated_link", "a bandwidth above zero bits per second", std::to_string(options.bandwidth));
    if (options.world < 0)
      throw value_error("simulated_link", "a world of zero machines (as many as there are ranks) or more",
                        std::to_string(options.world));
    if (options.world == 0) options_.world = inner_.size();
  }

  [[nodiscard]] int rank() const { return inner_.rank(); }
  [[nodiscard]] int size() const { return inner_.size(); }

  void all_reduce(std::span<float> values) { reduce(values, 32); }
  void all_reduce(std::span<double> values) { reduce(values, 64); }

  /// As all_reduce(values), with `width` bits per value on the wire.
  void all_reduce(std::span<float> values, wire_bits width) { reduce(values, width.value); }

  void broadcast(std::span<float> values, int root) { send(values, root); }
  void broadcast(std::span<double> values, int root)
    requires requires(C& c) { c.broadcast(values, root); }
  {
    send(values, root);
  }

  void barrier() { inner_.barrier(); }

  /// As the inner communicator's, where it has one.
  void abort(std::string_view reason = {})
    requires requires(C& c) { c.abort(reason); }
  {
    inner_.abort(reason);
  }

  /// Seconds that an all_reduce of so many bytes occupies the link.
  [[nodiscard]] double all_reduce_seconds(std::int64_t bytes) const {
    const double hops = options_.world - 1;
    return 2 * hops * options_.latency +
           8 * (2 * hops / options_.world * static_cast<double>(bytes)) / options_.bandwidth;
  }

  /// Seconds that a broadcast of so many bytes occupies the link.
  [[nodiscard]] double broadcast_seconds(std::int64_t bytes) const {
    if (options_.world == 1) return 0;
    return (options_.world - 1) * options_.latency + 8 * static_cast<double>(bytes) / options_.bandwidth;
  }

  /// Seconds that the calls so far have occupied the link.
  [[nodiscard]] double busy_seconds() const noexcept { return busy_; }

  /// Bytes that one machine has sent in the calls so far: 2 (W - 1) / W of the buffer, rounded up, for an all_reduce;
  /// the whole buffer for a broadcast, none if W = 1.
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }

  [[nodiscard]] const link_options& options() const noexcept { return options_; }
  [[nodiscard]] C& inner() noexcept { return inner_; }

 private:
  using clock = std::chrono::steady_clock;

  template <class T>
  void reduce(std::span<T> values, int width) {
    const std::int64_t bytes = (static_cast<std::int64_t>(values.size()) * width + 7) / 8;
    const std::int64_t world = options_.world;
    occupy(all_reduce_seconds(bytes), (2 * (world - 1) * bytes + world - 1) / world,
           [&] { inner_.all_reduce(values); });
  }

  template <class T>
  void send(std::span<T> values, int root) {
    const auto bytes = static_cast<std::int64_t>(values.size_bytes());
    occupy(broadcast_seconds(bytes), options_.world == 1 ? 0 : bytes, [&] { inner_.broadcast(values, root); });
  }

  template <class Work>
  void occupy(double seconds, std::int64_t bytes, const Work& work) {
    inner_.barrier();
    const auto end = clock::now() + std::chrono::ceil<clock::duration>(std::chrono::duration<double>(seconds));
    work();
    busy_ += seconds;
    bytes_ += bytes;
    // The kernel wakes a sleeper some tens of microseconds late.
    std::this_thread::sleep_until(end - std::chrono::microseconds(50));
    while (clock::now() < end) std::this_thread::yield();
  }

  C inner_;
  link_options options_;
  double busy_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace lockstep
