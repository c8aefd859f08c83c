// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <lockstep/backend/rule.hpp>
#include <lockstep/core/config.hpp>

#include "backend/support.hpp"

// A backend may record what is enqueued under a key, from any call on; so every case calls a key often enough for its
// work to run unrecorded, while it is recorded, and recorded.

namespace {

using namespace lockstep_test;

constexpr int calls = 5;

/// The shared context without recorded work, before and after.
template <class B>
struct forgetful : entered<B> {
  forgetful() { B::forget(this->context); }
  forgetful(const forgetful&) = delete;
  forgetful& operator=(const forgetful&) = delete;
  ~forgetful() { B::forget(this->context); }
};

/// p -= rate * g.
template <class T>
struct descent_rule {
  T rate;

  LOCKSTEP_HOST_DEVICE void operator()(T g, T& p) const { p -= rate * g; }
};

/// Training of one fully connected layer, with a loss and clipping.
template <class B>
class small_training {
  using context = typename B::context;
  using value = typename B::value_type;
  using rule_type = descent_rule<value>;
  static constexpr std::int64_t samples = 9;
  static constexpr std::int64_t classes = 10;
  static constexpr std::int64_t features = 70;
  static constexpr std::int64_t parameter_count = (features + 1) * classes;
  static constexpr ls::linear_geometry geometry{.in = features, .out = classes, .input_gradient = false};

 public:
  explicit small_training(context& c) : product_(c, samples), sum_(c), terms_(c) {}

  /// Another batch, another dropout mask, another learning rate.
  void prepare(std::uint64_t step) {
    x_.write(uniform(samples * features, 100 + step));
    doubles targets;
    for (std::int64_t s = 0; s < samples; ++s)
      targets.push_back(static_cast<double>((s + static_cast<std::int64_t>(step)) % classes));
    targets_.write(targets);
    now_.write({.scale = 1.0 / static_cast<double>(step + 1), .seed = 3, .step = step});
    rule_.write({static_cast<value>(0.5 / static_cast<double>(step + 1))});
  }

  /// Only enqueues.
  void step(context& c) {
    B::dropout(c, samples, features, ls::dims{}, 0.25F, {.now = now_.get()}, x_.data(), dropped_.data());
    B::clear(c, 1, sum_.get());
    product_.forward(c, dropped_.data(), parameters_.data(), parameters_.data() + features * classes, y_.data());
    B::softmax_cross_entropy(c, samples, {.classes = classes}, y_.data(), targets_.data(), dy_.data(), now_.get(),
                             sum_.get());
    product_.backward(c, dropped_.data(), dy_.data(), parameters_.data(), nullptr, gradients_.data(),
                      gradients_.data() + features * classes, false);
    B::square_sums(c, parameter_count, parameter_count, gradients_.data(), squares_.data());
    B::gradient_norm(c, 1, squares_.data(), 0.5, terms_.get());
    B::reduce_and_update(c, 0, parameter_count, std::array<const value*, 1>{gradients_.data()}, parameters_.data(),
                         std::array<value*, 0>{},
                         ls::stored_scaled_rule<rule_type, value, true>{rule_.get(), terms_.get()});
    sum_.fetch(c);
    terms_.fetch(c);
  }

  /// The loss, the norm and the parameters of the last step.
  doubles outcome(context& c) {
    B::finish(c);
    doubles all{sum_.host(), terms_.host().norm, terms_.host().scale};
    const doubles p = parameters_.read();
    all.insert(all.end(), p.begin(), p.end());
    return all;
  }

 private:
  typename B::template linear<geometry> product_;
  array<B> x_{filled(samples * features, 0)};
  array<B> dropped_{filled(samples * features, poison)};
  array<B, std::int64_t> targets_{filled(samples, 0)};
  array<B> parameters_{uniform(parameter_count, 1)};
  array<B> gradients_{filled(parameter_count, poison)};
  array<B> y_{filled(samples * classes, poison)};
  array<B> dy_{filled(samples * classes, poison)};
  array<B, double> squares_{filled(1, poison)};
  stored<B, ls::step_values> now_{ls::step_values{}};
  stored<B, rule_type> rule_{rule_type{}};
  typename B::template mirrored<double> sum_;
  typename B::template mirrored<ls::update_terms> terms_;
};

}  // namespace

TEMPLATE_LIST_TEST_CASE("work replayed under one key sees what its buffers hold now", "[replay]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  forgetful<B> e;
  const std::int64_t n = 1000;
  array<B> x(filled(n, 0));
  array<B> y(filled(n, poison));
  array<B> total(filled(n, 0));
  std::vector<value> sum(static_cast<std::size_t>(n));
  int runs = 0;
  for (int k = 0; k < calls; ++k) {
    CAPTURE(B::name, k);
    const doubles input = uniform(n, static_cast<std::uint64_t>(k));
    x.write(input);
    B::replay(e.context, 1, [&] {
      ++runs;
      B::relu_forward(e.context, n, x.data(), y.data());
      B::add(e.context, n, y.data(), total.data());
    });
    for (std::size_t i = 0; i < sum.size(); ++i)
      if (input[i] > 0) sum[i] += static_cast<value>(input[i]);
    check_close(total.read(), doubles(sum.begin(), sum.end()), 0);
  }
  CHECK(runs >= 1);
  CHECK(runs <= calls);
}

TEMPLATE_LIST_TEST_CASE("replayed work may be given again before it has finished", "[replay]", backends) {
  using B = TestType;
  forgetful<B> e;
  const std::int64_t n = 70000;
  array<B> one(filled(n, 1));
  array<B> sum(filled(n, 0));
  for (int k = 0; k < 4 * calls; ++k) B::replay(e.context, 1, [&] { B::add(e.context, n, one.data(), sum.data()); });
  B::add(e.context, n, one.data(), sum.data());
  check_close(sum.read(), filled(n, 4 * calls + 1), 0);
}

TEMPLATE_LIST_TEST_CASE("each key has work of its own", "[replay]", backends) {
  using B = TestType;
  forgetful<B> e;
  // More keys than a backend is likely to keep, and keys that differ in any half.
  constexpr std::int64_t keys = 20;
  const std::int64_t n = 65;
  doubles all;
  for (std::int64_t k = 0; k < keys; ++k) all.insert(all.end(), static_cast<std::size_t>(n), static_cast<double>(k));
  array<B> terms(all);
  array<B> sums(filled(keys * n, 0));
  const auto key = [](std::int64_t k) {
    const auto number = static_cast<std::uint64_t>(k);
    return number / 4 << 32U | number % 4;
  };
  for (int round = 1; round <= calls; ++round) {
    for (std::int64_t k = 0; k < keys; ++k)
      B::replay(e.context, key(k), [&] { B::add(e.context, n, terms.data() + k * n, sums.data() + k * n); });
    doubles want = all;
    for (double& v : want) v *= round;
    CAPTURE(B::name, round);
    check_close(sums.read(), want, 0);
  }
  // Few keys in turn, long enough for each to be kept.
  sums.write(filled(keys * n, 0));
  for (int round = 1; round <= calls; ++round)
    for (const std::int64_t k : {3, 7})
      B::replay(e.context, key(k), [&] { B::add(e.context, n, terms.data() + k * n, sums.data() + k * n); });
  doubles want = filled(keys * n, 0);
  for (const std::int64_t k : {3, 7})
    for (std::int64_t i = 0; i < n; ++i) want[static_cast<std::size_t>(k * n + i)] = static_cast<double>(k * calls);
  check_close(sums.read(), want, 0);
}

TEMPLATE_LIST_TEST_CASE("what was forgotten is given anew", "[replay]", backends) {
  using B = TestType;
  forgetful<B> e;
  const std::int64_t n = 130;
  array<B> one(filled(n, 1));
  array<B> before(filled(n, 0));
  array<B> after(filled(n, 0));
  const auto add_to = [&](array<B>& to) {
    for (int k = 0; k < calls; ++k) B::replay(e.context, 1, [&] { B::add(e.context, n, one.data(), to.data()); });
  };
  add_to(before);
  B::forget(e.context);
  add_to(after);
  check_close(before.read(), filled(n, calls), 0);
  check_close(after.read(), filled(n, calls), 0);
}

TEMPLATE_LIST_TEST_CASE("what replayed work throws goes on, and the context stays usable", "[replay]", backends) {
  using B = TestType;
  forgetful<B> e;
  const std::int64_t n = 130;
  array<B> one(filled(n, 1));
  array<B> sum(filled(n, 0));
  for (const int failing : {0, 1, 2}) {
    CAPTURE(B::name, failing);
    const auto key = static_cast<std::uint64_t>(failing);
    for (int k = 0; k < failing + calls; ++k) {
      sum.write(filled(n, 0));
      bool thrown = false;
      bool given = false;
      try {
        B::replay(e.context, key, [&] {
          B::add(e.context, n, one.data(), sum.data());
          if (k != failing) return;
          given = true;
          throw std::runtime_error("refused");
        });
      } catch (const std::runtime_error&) {
        thrown = true;
      }
      CHECK(thrown == given);
      if (failing == 0 && k == 0) CHECK(thrown);
      if (!thrown) check_close(sum.read(), filled(n, 1), 0);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("training steps that are replayed give the bits of those that are not", "[replay]", backends) {
  using B = TestType;
  forgetful<B> e;
  small_training<B> plain(e.context);
  small_training<B> replayed(e.context);
  doubles last;
  for (std::uint64_t step = 0; step < calls; ++step) {
    CAPTURE(B::name, step);
    plain.prepare(step);
    plain.step(e.context);
    const doubles want = plain.outcome(e.context);
    REQUIRE(want.front() > 0);
    replayed.prepare(step);
    B::replay(e.context, 77, [&] { replayed.step(e.context); });
    check_close(replayed.outcome(e.context), want, 0);
    CHECK(want != last);
    last = want;
  }
}
