// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include <lockstep/backend/cpu/cpu.hpp>

#include "backend/convolution_check.hpp"
#include "backend/linear_check.hpp"

// The CPU backend takes the widest vectors that the machine has; here every width that it has is held to the oracle.

namespace {

using namespace lockstep_test;
namespace kernels = lockstep::cpu_backend;

/// The CPU backend by its own kernels alone, with vectors V.
template <class V>
struct cpu_by : ls::cpu {
  template <ls::linear_geometry G>
  class linear {
   public:
    static_assert(kernels::wide::takes(G));

    linear(context&, std::int64_t samples) : samples_(samples) {}

    static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) {
      return kernels::wide::weight_offset(G, o, i);
    }
    void forward(context&, const float* x, const float* w, const float* b, float* y) {
      kernels::wide::forward<V>(G, samples_, x, w, b, y);
    }
    void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                  bool accumulate) {
      for (std::int64_t o = 0; db != nullptr && o < G.out; ++o) {
        if (!accumulate) db[o] = 0;
        for (std::int64_t s = 0; s < samples_; ++s) db[o] += dy[s * G.out + o];
      }
      float* scratch = c.workspace(kernels::wide::backward_scratch(G, samples_));
      if (dw != nullptr) kernels::wide::backward_weights<V>(G, samples_, x, dy, dw, accumulate, scratch);
      if (dx != nullptr) kernels::wide::backward_input<V>(G, samples_, x, dy, w, dx, scratch);
    }

   private:
    std::int64_t samples_;
  };

  template <ls::convolution_geometry G, class Forward, class Gradient>
  class convolution_by : public ls::cpu::convolution<G> {
   public:
    static_assert(!G.input_gradient, "the kernels do not compute it");

    convolution_by(context& c, std::int64_t samples) : ls::cpu::convolution<G>(c, samples), samples_(samples) {
      REQUIRE(kernels::narrow::takes(G));
    }
    void forward(context&, const float* x, const float* w, const float* b, float* y) {
      forward_.template run<V>(samples_, x, w, b, y);
    }
    void backward(context&, const float* x, const float* dy, const float*, float*, float* dw, float* db,
                  bool accumulate) {
      gradient_.template run<V>(samples_, x, dy, dw, db, accumulate);
    }

   private:
    std::int64_t samples_;
    Forward forward_{G};
    Gradient gradient_{G};
  };
};

template <class V>
struct cpu_plain : cpu_by<V> {
  template <ls::convolution_geometry G>
  using convolution = typename cpu_by<V>::template convolution_by<G, kernels::narrow::convolution_forward,
                                                                  kernels::narrow::weight_gradient>;
};

template <class V>
struct cpu_winograd : cpu_by<V> {
  template <ls::convolution_geometry G>
  using convolution = typename cpu_by<V>::template convolution_by<G, kernels::narrow::winograd_forward,
                                                                  kernels::narrow::winograd_gradient>;
};

template <class B, ls::convolution_geometry... G>
void check_convolutions() {
  entered<B> e;
  for (const std::int64_t n : {1, 3})
    for (const bool accumulate : {false, true}) (check_convolution<B, G>(e.context, n, accumulate), ...);
}

template <class B, ls::linear_geometry... G>
void check_products() {
  entered<B> e;
  for (const std::int64_t n : {1, 2, 5, 8, 11, 33})
    for (const bool accumulate : {false, true}) (check_linear<B, G>(e.context, n, accumulate), ...);
}

}  // namespace

TEMPLATE_TEST_CASE("wide products by vectors of each width match the oracle", "", kernels::float_x8,
                   kernels::float_x16) {
  if (!kernels::has<TestType>()) LOCKSTEP_SKIP("this machine has no vectors of this width");
  // Pairs of panels, one alone and half of one; inputs that are a multiple of nothing; deeper than one part.
  check_products<cpu_by<TestType>, ls::linear_geometry{.in = 1, .out = 24},
                 ls::linear_geometry{.in = 70, .out = 56, .relu = true, .mask_input = true},
                 ls::linear_geometry{.in = 47, .out = 64, .bias = false, .mask_input = true},
                 ls::linear_geometry{.in = 256, .out = 32},
                 ls::linear_geometry{.in = 2053, .out = 40, .bias = false, .relu = true}>();
}

TEMPLATE_TEST_CASE("convolutions of few channels by vectors of each width match the oracle", "", kernels::float_x8,
                   kernels::float_x16) {
  if (!kernels::has<TestType>()) LOCKSTEP_SKIP("this machine has no vectors of this width");
  check_convolutions<cpu_plain<TestType>,
                     ls::convolution_geometry{.in_channels = 3,
                                              .in = {14, 12},
                                              .out_channels = 32,
                                              .kernel = {3},
                                              .padding = {1},
                                              .relu = true,
                                              .input_gradient = false},
                     ls::convolution_geometry{.in_channels = 4,
                                              .in = {7, 6},
                                              .out_channels = 64,
                                              .kernel = {3, 2},
                                              .stride = {2, 1},
                                              .padding = {1, 0},
                                              .dilation = {2, 1},
                                              .input_gradient = false}>();
  check_convolutions<
      cpu_winograd<TestType>,
      ls::convolution_geometry{.in_channels = 3,
                               .in = {9, 20},
                               .out_channels = 64,
                               .kernel = {3},
                               .padding = {1},
                               .relu = true,
                               .input_gradient = false},
      ls::convolution_geometry{
          .in_channels = 1, .in = {4, 7}, .out_channels = 32, .kernel = {3, 2}, .input_gradient = false},
      ls::convolution_geometry{
          .in_channels = 2, .in = {12, 40}, .out_channels = 96, .kernel = {3, 1}, .input_gradient = false},
      ls::convolution_geometry{.in_channels = 4,
                               .in = {4, 9},
                               .out_channels = 32,
                               .kernel = {3, 5},
                               .stride = {1, 2},
                               .padding = {2, 3},
                               .input_gradient = false}>();
}
