// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/trainer/home.hpp>
#include <lockstep/parallel/trainer/placement.hpp>
#include <lockstep/parallel/trainer/replica.hpp>

namespace lockstep::detail {

/// One home for all N replicas: the host's memory, or that of one device. Each replica sums the gradients of all
/// replicas over its slice.
template <class B, class Optimizer, std::size_t N, std::size_t Ranges>
class one_home {
 public:
  using value = typename B::value_type;
  using context = typename B::context;
  using home_type = home<B, Optimizer, N, Ranges>;
  using buffers = std::array<const value*, N>;

  /// Replicas never wait for each other inside a device's work.
  static constexpr bool may_send_parts = false;

  /// Throws value_error unless `devices` names one device for all replicas.
  explicit one_home(const std::vector<int>& devices) : device_(placement<B>(devices, N).front()) {}

  /// On replica r's thread: makes the home, if r is the first replica.
  void settle(std::size_t r, context& c, std::int64_t parameter_count, std::int64_t trainable_count) {
    if (r == 0) home_.emplace(c, parameter_count, trainable_count, N);
  }
  /// For replica r, once the first replica has settled: allocates what its slice of the update needs.
  void attach(std::size_t r, context& c) { home_->update.attach(r, c); }

  [[nodiscard]] int device(std::size_t) const noexcept { return device_; }
  [[nodiscard]] home_type& front() noexcept { return *home_; }
  [[nodiscard]] const home_type& front() const noexcept { return *home_; }
  /// The home that replica r works with, and its slice of it.
  [[nodiscard]] home_type& of(std::size_t) noexcept { return *home_; }
  [[nodiscard]] std::size_t slice(std::size_t r) const noexcept { return r; }
  /// The copies of the parameters in further homes: none.
  [[nodiscard]] std::span<const parameter_copy<B>> copies() const noexcept { return {}; }

  /// The same for the values at data_of(home): none.
  template <class DataOf>
  [[nodiscard]] std::vector<parameter_copy<B>> copies_of(const DataOf&) const {
    return {};
  }

  /// Calls f(home) for each home, from one thread.
  template <class F>
  void each(const F& f) {
    [[maybe_unused]] const auto device = device_of<B>(*home_->front);
    f(*home_);
  }

  /// Gives the home the model's initial parameters and clears the optimizer's state, from one thread.
  template <class Model>
  void initialize(seed s) {
    initialize_homes<Model, B>(s, [&](const auto& f) { each(f); });
  }

  /// True when no replica waits for another, so that its whole step may be recorded.
  [[nodiscard]] static constexpr bool alone() noexcept { return !B::host_memory && N == 1; }

  /// For replica r, after its backward: with one home there is nothing to combine.
  template <class Replicas, class Meet>
  bool combine(std::size_t, const Replicas&, const Meet&) const noexcept {
    return true;
  }

  /// For replica r: writes the sum of the gradients in `all` to its slice of the sums, or adds it there.
  void reduce(std::size_t r, context& c, value*, const buffers& all, std::int64_t, bool accumulate, bool) {
    home_->update.reduce(r, c, all, accumulate);
  }

  /// Calls f with the buffers that add up to the sum of all replicas' gradients.
  template <class F>
  void with_sources(std::size_t, context&, value*, const buffers& all, const F& f) const {
    f(all);
  }

  /// The buffers that add up to the gradients of the last pass: those of all replicas, or the sums when `summed`.
  [[nodiscard]] buffers visible(buffers all, bool summed, bool) const {
    if (!summed) return all;
    all.fill(nullptr);
    all[0] = home_->update.sums();
    return all;
  }

  /// Takes out the buffers that hold more than one replica's gradients: here none does.
  void hide_combined(buffers&, bool) const noexcept {}

  /// Waits for replica r's work.
  void finish(std::size_t, context& c) { B::finish(c); }

 private:
  int device_;
  std::optional<home_type> home_;
};

}  // namespace lockstep::detail
