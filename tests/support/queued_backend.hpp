// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/cpu/cpu.hpp>

#include "support/queued_collective.hpp"
#include "support/queued_work.hpp"

/// \file
/// A backend that behaves as a GPU does, so that what schedules replicas can be tested where there is none: work is
/// done later and in order, by a thread of its context; memory is at addresses that the host cannot read; and work can
/// be recorded and run again. The numbers are the CPU backend's, bit for bit.

namespace lockstep_test {

namespace ls = lockstep;

namespace queued_detail {

/// A primitive with state, which lives until its work is done.
template <class Inner>
class prepared {
 public:
  prepared(context& c, std::int64_t samples) : queue_(c.queue()), inner_(c.inner(), samples) {
    queue_->refuse_in_record("a primitive's preparation");
  }
  prepared(const prepared&) = delete;
  prepared& operator=(const prepared&) = delete;
  ~prepared() { queue_->finish_quietly(); }

  template <class... Arguments>
  void forward(context& c, Arguments... arguments) {
    c.submit([this, &c, ... a = host_of(arguments)] { inner_.forward(c.inner(), a...); });
  }
  template <class... Arguments>
  void backward(context& c, Arguments... arguments) {
    c.submit([this, &c, ... a = host_of(arguments)] { inner_.backward(c.inner(), a...); });
  }
  template <class... Index>
  [[nodiscard]] static constexpr std::int64_t weight_offset(Index... index) {
    return Inner::weight_offset(index...);
  }

 private:
  template <class T>
  static T* host_of(T* p) {
    return to_host(p);
  }
  static bool host_of(bool b) { return b; }

  std::shared_ptr<worker> queue_;
  Inner inner_;
};

}  // namespace queued_detail

struct queued {
  using value_type = float;
  using activation_type = float;
  using context = queued_detail::context;
  template <class T>
  using buffer = queued_detail::buffer<T>;
  template <class T>
  using mirrored = queued_detail::mirrored<T>;
  using packet = queued_detail::packet;
  using fence = queued_detail::fence;
  template <std::size_t N>
  using collective = queued_detail::collective<N>;

  static constexpr std::string_view name = "queued";
  static constexpr ls::element_order picture_order = ls::cpu::picture_order;
  static constexpr std::int64_t cache_bytes = ls::cpu::cache_bytes;
  static constexpr std::int64_t largest_pass = ls::cpu::largest_pass;
  static constexpr bool host_memory = false;

  template <ls::linear_geometry G>
  using linear = queued_detail::prepared<ls::cpu::linear<G>>;
  template <ls::convolution_geometry G>
  using convolution = queued_detail::prepared<ls::cpu::convolution<G>>;
  template <ls::pooling_geometry G>
  using pooling = queued_detail::prepared<ls::cpu::pooling<G>>;

  template <class T>
  [[nodiscard]] static buffer<T> allocate(context& c, std::int64_t n) {
    return buffer<T>(c, n);
  }
  template <class T>
  static void copy_in(context& c, std::int64_t n, const T* from, T* to) {
    c.queue()->refuse_in_record("a copy of the host's memory");
    c.submit([data = std::vector<T>(from, from + n), to] { std::copy(data.begin(), data.end(), host(to)); });
  }
  template <class T>
  static void copy_out(context& c, std::int64_t n, const T* from, T* to) {
    c.submit([=] { std::copy_n(host(from), n, to); });
    c.queue()->finish();
  }
  template <class T>
  static void copy(context& c, std::int64_t n, const T* from, T* to) {
    c.submit([=] { std::copy_n(host(from), n, host(to)); });
  }
  template <class T>
  static void clear(context& c, std::int64_t n, T* to) {
    c.submit([=] { std::fill_n(host(to), n, T{}); });
  }
  [[nodiscard]] static bool host_reads(const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) < queued_detail::distance;
  }
  static void finish(context& c) { c.queue()->finish(); }
  static void forget(context& c) {
    ++c.forgets;
    c.records.clear();
    c.seen.clear();
  }
  [[nodiscard]] static std::uint64_t moves(context& c) { return c.forgets; }

  [[nodiscard]] static bool recording(context& c) { return c.queue()->recording(); }
  template <class F>
  static void replay(context& c, std::uint64_t key, F&& f) {
    replay(c, key, f, [] {});
  }
  template <class F, class Ready>
  static void replay(context& c, std::uint64_t key, F&& f, const Ready& ready) {
    if (c.seen[key]++ == 0) return f();
    if (!c.records.contains(key)) {
      std::vector<queued_detail::job> jobs;
      c.queue()->record_to(&jobs);
      try {
        f();
      } catch (...) {
        c.queue()->record_to(nullptr);
        throw;
      }
      c.queue()->record_to(nullptr);
      c.records[key] = std::move(jobs);
      ready();
    } else {
      ++queued_detail::replays;
    }
    for (const auto& work : c.records[key]) c.submit(work);
  }

  static void relu_forward(context& c, std::int64_t n, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::relu_forward(c.inner(), n, host(x), host(y)); });
  }
  static void relu_backward(context& c, std::int64_t n, const float* y, const float* dy, float* dx) {
    c.submit([=, &c] { ls::cpu::relu_backward(c.inner(), n, host(y), host(dy), host(dx)); });
  }
  static void dropout(context& c, std::int64_t samples, std::int64_t size, const ls::dims& picture, float p,
                      const ls::dropout_key& key, const float* x, float* y) {
    c.submit([=, &c] {
      ls::dropout_key own = key;
      own.now = host(key.now);
      ls::cpu::dropout(c.inner(), samples, size, picture, p, own, host(x), host(y));
    });
  }
  static void to_channels_last(context& c, std::int64_t n, const ls::dims& d, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::to_channels_last(c.inner(), n, d, host(x), host(y)); });
  }
  static void to_plain(context& c, std::int64_t n, const ls::dims& d, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::to_plain(c.inner(), n, d, host(x), host(y)); });
  }
  static void softmax_cross_entropy(context& c, std::int64_t rows, const ls::cross_entropy_arguments& a,
                                    const float* logits, const std::int64_t* targets, float* dlogits,
                                    const ls::step_values* now, double* sum) {
    c.submit([=, &c] {
      ls::cross_entropy_arguments own = a;
      own.class_weights = host(a.class_weights);
      ls::cpu::softmax_cross_entropy(c.inner(), rows, own, host(logits), host(targets), host(dlogits), host(now),
                                     host(sum));
    });
  }
  static void squared_error(context& c, std::int64_t n, const float* y, const float* t, float* dy,
                            const ls::step_values* now, double* sum) {
    c.submit([=, &c] { ls::cpu::squared_error(c.inner(), n, host(y), host(t), host(dy), host(now), host(sum)); });
  }
  template <class Rule>
  static void element_loss(context& c, std::int64_t samples, std::int64_t size, const Rule& rule, const float* weights,
                           const float* y, const float* t, float* dy, const ls::step_values* now, double* sum) {
    c.submit([=, &c] {
      ls::cpu::element_loss(c.inner(), samples, size, rule, host(weights), host(y), host(t), host(dy), host(now),
                            host(sum));
    });
  }
  static void negative_log_likelihood(context& c, std::int64_t rows, const ls::cross_entropy_arguments& a,
                                      const float* y, const std::int64_t* targets, float* dy,
                                      const ls::step_values* now, double* sum) {
    c.submit([=, &c] {
      ls::cross_entropy_arguments own = a;
      own.class_weights = host(a.class_weights);
      ls::cpu::negative_log_likelihood(c.inner(), rows, own, host(y), host(targets), host(dy), host(now), host(sum));
    });
  }
  static void sum(context& c, std::int64_t n, const float* a, const float* b, bool relu, float* y) {
    c.submit([=, &c] { ls::cpu::sum(c.inner(), n, host(a), host(b), relu, host(y)); });
  }
  template <class F>
  static void map(context& c, std::int64_t n, const F& f, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::map(c.inner(), n, f, host(x), host(y)); });
  }
  template <class F>
  static void map_backward(context& c, std::int64_t n, const F& f, const float* x, const float* y, const float* dy,
                           float* dx) {
    c.submit([=, &c] { ls::cpu::map_backward(c.inner(), n, f, host(x), host(y), host(dy), host(dx)); });
  }
  static void softmax_rows(context& c, std::int64_t samples, const ls::channel_layout& layout, bool logarithm,
                           const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::softmax_rows(c.inner(), samples, layout, logarithm, host(x), host(y)); });
  }
  static void softmax_rows_backward(context& c, std::int64_t samples, const ls::channel_layout& layout, bool logarithm,
                                    const float* y, const float* dy, float* dx) {
    c.submit([=, &c] {
      ls::cpu::softmax_rows_backward(c.inner(), samples, layout, logarithm, host(y), host(dy), host(dx));
    });
  }
  static void dropout_channels(context& c, std::int64_t samples, const ls::channel_layout& layout, float p,
                               const ls::dropout_key& key, const float* x, float* y) {
    c.submit([=, &c] {
      ls::dropout_key own = key;
      own.now = host(key.now);
      ls::cpu::dropout_channels(c.inner(), samples, layout, p, own, host(x), host(y));
    });
  }
  static void copy_rows(context& c, std::int64_t rows, std::int64_t width, const float* from, std::int64_t from_stride,
                        float* to, std::int64_t to_stride) {
    c.submit([=, &c] { ls::cpu::copy_rows(c.inner(), rows, width, host(from), from_stride, host(to), to_stride); });
  }
  static void add(context& c, std::int64_t n, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::add(c.inner(), n, host(x), host(y)); });
  }
  static void square_sums(context& c, std::int64_t n, std::int64_t block, const float* x, double* sums) {
    c.submit([=, &c] { ls::cpu::square_sums(c.inner(), n, block, host(x), host(sums)); });
  }
  static void gradient_norm(context& c, std::int64_t blocks, const double* squares, double max_norm,
                            ls::update_terms* out) {
    c.submit([=, &c] { ls::cpu::gradient_norm(c.inner(), blocks, host(squares), max_norm, host(out)); });
  }
  template <std::size_t N, std::size_t States, class Rule>
  static void reduce_and_update(context& c, std::int64_t first, std::int64_t last,
                                const std::array<const float*, N>& gradients, float* parameters,
                                const std::array<float*, States>& states, const Rule& rule) {
    c.submit([=, &c] {
      auto own_gradients = gradients;
      for (auto& g : own_gradients) g = host(g);
      auto own_states = states;
      for (auto& s : own_states) s = host(s);
      if constexpr (!std::is_same_v<Rule, ls::assign_rule> && !std::is_same_v<Rule, ls::add_rule>)
        if (int device = c.device(); queued_detail::faults::update.compare_exchange_strong(device, -1))
          throw std::runtime_error("an update that fails");
      ls::cpu::reduce_and_update(c.inner(), first, last, own_gradients, host(parameters), own_states, readable(rule));
    });
  }

 private:
  template <class T>
  static T* host(T* p) {
    return queued_detail::to_host(p);
  }

  /// The rule with its pointers as this side reads them.
  template <class Rule>
  static Rule readable(Rule rule) {
    if constexpr (requires { rule.loaded(); }) {
      rule.rule = host(rule.rule);
      if constexpr (requires { rule.terms; }) rule.terms = host(rule.terms);
    }
    return rule;
  }
};

static_assert(ls::backend<queued>);
static_assert(ls::measures_elements<queued>);
static_assert(ls::measures_classes<queued>);

}  // namespace lockstep_test
