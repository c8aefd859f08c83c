// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/reference/reference.hpp>

/// \file
/// A backend of which any call can be made to fail.

namespace lockstep_test {

/// What a call that failed was for.
enum class failed_call : std::uint8_t { none, pass, sum, update };

/// The calls of the contexts on one device number, of which one may be made to fail.
struct call_trap {
  std::atomic<int> left{-1};  ///< calls before the one that fails; below zero: none will
  std::atomic<failed_call> failed{failed_call::none};

  /// Call number `n` from now on fails.
  void set(int n) {
    failed = failed_call::none;
    left = n;
  }
  void disarm() { left = -1; }
  void call(failed_call what) {
    if (left.load() < 0 || left.fetch_sub(1) != 0) return;
    failed = what;
    throw std::runtime_error("a call that fails");
  }
};

/// The reference backend, whose calls may fail. A trainer's device number says which trap its replicas fall into; 0 is
/// that of the threads that communicate.
struct failing : lockstep::reference<float> {
  static constexpr std::string_view name = "failing";

  static inline std::array<call_trap, 5> traps{};

  class context : public lockstep::reference_backend::context {
   public:
    explicit context(const lockstep::replica_place& place)
        : lockstep::reference_backend::context(place), trap_(&traps.at(static_cast<std::size_t>(place.device))) {}
    void call(failed_call what) { trap_->call(what); }

   private:
    call_trap* trap_;
  };

  template <lockstep::linear_geometry G>
  struct linear : lockstep::reference_backend::linear<float, float, G> {
    using base = lockstep::reference_backend::linear<float, float, G>;

    linear(context& c, std::int64_t samples) : base(c, samples) { c.call(failed_call::pass); }
    template <class... Arguments>
    void forward(context& c, Arguments... arguments) const {
      c.call(failed_call::pass);
      base::forward(c, arguments...);
    }
    template <class... Arguments>
    void backward(context& c, Arguments... arguments) const {
      c.call(failed_call::pass);
      base::backward(c, arguments...);
    }
  };

  template <class... Arguments>
  static void relu_forward(context& c, Arguments... arguments) {
    c.call(failed_call::pass);
    reference::relu_forward(c, arguments...);
  }
  template <class... Arguments>
  static void relu_backward(context& c, Arguments... arguments) {
    c.call(failed_call::pass);
    reference::relu_backward(c, arguments...);
  }
  template <class... Arguments>
  static void softmax_cross_entropy(context& c, std::int64_t rows, const lockstep::cross_entropy_arguments& a,
                                    Arguments... arguments) {
    c.call(failed_call::pass);
    reference::softmax_cross_entropy(c, rows, a, arguments...);
  }
  static void add(context& c, std::int64_t n, const float* x, float* y) {
    c.call(failed_call::pass);
    reference::add(c, n, x, y);
  }
  static void square_sums(context& c, std::int64_t n, std::int64_t block, const float* x, double* sums) {
    c.call(failed_call::sum);
    reference::square_sums(c, n, block, x, sums);
  }
  static void gradient_norm(context& c, std::int64_t blocks, const double* sums, double max_norm,
                            lockstep::update_terms* terms) {
    c.call(failed_call::update);
    reference::gradient_norm(c, blocks, sums, max_norm, terms);
  }
  template <std::size_t N, std::size_t States, class Rule>
  static void reduce_and_update(context& c, std::int64_t first, std::int64_t last,
                                const std::array<const float*, N>& gradients, float* parameters,
                                const std::array<float*, States>& states, const Rule& rule) {
    constexpr bool sums = std::is_same_v<Rule, lockstep::assign_rule> || std::is_same_v<Rule, lockstep::add_rule>;
    c.call(sums ? failed_call::sum : failed_call::update);
    reference::reduce_and_update<N, States>(c, first, last, gradients, parameters, states, rule);
  }
};

static_assert(lockstep::backend<failing>);

}  // namespace lockstep_test
