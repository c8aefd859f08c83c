// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "backend/support.hpp"

// Sums of many terms of like size: one float to which they are added in turn would lose their last digits, a part in
// 1000 after 250,000 of them. Other tests allow an error that grows with the number of terms; these do not.

namespace {

using namespace lockstep_test;

/// What rounding the terms and the result to float alone may cost.
constexpr double few_roundings = 1e-6;

/// The bias gradients of `n` pictures against sums in double precision.
template <class B, ls::convolution_geometry G>
void check_bias_gradient(typename B::context& c, std::int64_t n) {
  using value = typename B::value_type;
  constexpr ls::dims out{G.out_channels, G.out().height, G.out().width};
  const std::int64_t pixels = G.out().height * G.out().width;
  CAPTURE(B::name, G.in_channels, G.kernel.height, ls::to_string(out), n);
  const doubles dy = held<B>(uniform(n * G.out_size(), 4, 0.0999, 0.1001));
  doubles want = filled(G.out_channels, 0);
  for (std::int64_t i = 0; i < n * G.out_size(); ++i)
    want[static_cast<std::size_t>(i / pixels % G.out_channels)] += dy[static_cast<std::size_t>(i)];

  array<B> x(filled(n * G.in_size(), 0));
  array<B> w(filled(G.weight_size(), 0));
  array<B> own_dy(to_backend<B>(dy, n, out));
  array<B, value> dw(filled(G.weight_size(), poison));
  array<B, value> db(filled(G.out_channels, poison));
  typename B::template convolution<G> op(c, n);
  op.backward(c, x.data(), own_dy.data(), w.data(), nullptr, dw.data(), db.data(), false);
  check_close(db.read(), want, 0, few_roundings);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("a softmax over very many classes is as precise as over few", "[loss]", pass_backends) {
  using B = TestType;
  entered<B> e;
  for (const std::int64_t classes : {50'257, 250'000})
    for (const float smoothing : {0.F, 0.1F}) {
      CAPTURE(B::name, classes, smoothing);
      const doubles logits = held<B>(uniform(classes, 3, -0.02, 0.02));  // a language model that has learnt nothing
      const std::int64_t target = 1;
      double exponentials = 0;
      for (const double z : logits) exponentials += std::exp(z);
      const double log_sum = std::log(exponentials);
      const double smooth = double{smoothing} / static_cast<double>(classes);
      double loss = (1 - double{smoothing}) * (log_sum - logits[target]);
      doubles want;
      for (const double z : logits) {
        if (smoothing > 0) loss += smooth * (log_sum - z);
        want.push_back(std::exp(z) / exponentials - smooth);
      }
      want[target] -= 1 - double{smoothing};

      array<B> own_logits(logits);
      array<B, std::int64_t> targets({static_cast<double>(target)});
      array<B> gradient(filled(classes, poison));
      const ls::cross_entropy_arguments a{.classes = classes, .label_smoothing = smoothing};
      stored<B, ls::step_values> now({});
      const double got = added_loss<B>([&](double* sum) {
        B::softmax_cross_entropy(e.context, 1, a, own_logits.data(), targets.data(), gradient.data(), now.get(), sum);
      });
      CHECK(got == Approx(loss).epsilon(few_roundings));
      // Where a target is smoothed, what is left of a probability is smaller than the probability.
      const double probability = *std::max_element(want.begin(), want.end()) + smooth;
      check_close(gradient.read(), want, few_roundings * probability, few_roundings + rounding<B>);
    }
}

TEMPLATE_LIST_TEST_CASE("the gradient of a bias is precise for large pictures", "[convolution]", pass_backends) {
  entered<TestType> e;
  // By each kernel that a backend may have: of few channels and many, of three rows and others.
  check_bias_gradient<TestType, ls::convolution_geometry{.in_channels = 1,
                                                         .in = {512},
                                                         .out_channels = 32,
                                                         .kernel = {1},
                                                         .stride = {1},
                                                         .dilation = {1},
                                                         .input_gradient = false}>(e.context, 1);
  check_bias_gradient<TestType, ls::convolution_geometry{.in_channels = 3,
                                                         .in = {256, 255},
                                                         .out_channels = 32,
                                                         .kernel = {3},
                                                         .stride = {1},
                                                         .padding = {1},
                                                         .dilation = {1},
                                                         .input_gradient = false}>(e.context, 3);
  check_bias_gradient<TestType, ls::convolution_geometry{.in_channels = 8,
                                                         .in = {512},
                                                         .out_channels = 16,
                                                         .kernel = {1},
                                                         .stride = {1},
                                                         .dilation = {1},
                                                         .input_gradient = false}>(e.context, 1);
}
