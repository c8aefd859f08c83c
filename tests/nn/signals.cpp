// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/conv1d.hpp>
#include <lockstep/nn/pool1d.hpp>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/activation/softmax.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/group_norm.hpp>
#include <lockstep/nn/layer_norm.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/residual.hpp>
#include <lockstep/nn/rms_norm.hpp>
#include <lockstep/nn/skippable.hpp>

#include "nn/support.hpp"
#include "support/user_layer.hpp"

// Layers on samples of channels x length, which are pictures of height 1 to a backend.

namespace {

using namespace lockstep_test;
using ls::avg_pool1d;
using ls::conv1d;
using ls::dims;
using ls::extent2;
using ls::input;
using ls::max_pool1d;

static_assert(ls::layer<conv1d<4, 3>>);
static_assert(ls::layer<max_pool1d<2>>);
static_assert(conv1d<4, 3>::output(dims{2, 9}) == dims{4, 7});
static_assert(conv1d<4, 3, ls::stride<2>, ls::padding<1>, ls::dilation<3>>::output(dims{2, 9}) == dims{4, 3});
static_assert(conv1d<4, 3, ls::groups<2>>::parameters(dims{6, 9}).items[0].shape == dims{4, 3, 3});
static_assert(conv1d<4, 3, ls::groups<2>>::parameters(dims{6, 9}).items[1].shape == dims{4});
static_assert(conv1d<4, 5, ls::groups<2>>::flops(dims{6, 9}) == 2 * (4 * 5) * (3 * 5));
static_assert(max_pool1d<2>::output(dims{3, 9}) == dims{3, 4});
static_assert(avg_pool1d<3, ls::stride<2>, ls::padding<1>>::output(dims{3, 9}) == dims{3, 5});
static_assert(max_pool1d<3, ls::stride<1>>::flops(dims{3, 9}) == 3 * 7 * 3);

/// The layer behind a convolution of length 1, so that the gradient of its input is checked too.
template <class Input, std::int64_t Channels, class... Layers>
using behind = regression<Input, conv1d<Channels, 1>, Layers...>;

/// A layer of a user's, who knows of no order but PyTorch's: element i of a sample is multiplied by i + 1.
struct by_position : same_extents {
  static constexpr std::string_view kind = "by_position";

  template <class B, ls::node_traits T>
  class op {
    using value = typename B::activation_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void forward(context&, const ls::pass&, const value* x, const value*, value* y) { scale(x, y); }
    void backward(context&, const ls::pass&, const ls::backward_arguments<B>& a) {
      if constexpr (T.input_gradient) scale(a.dy, a.dx);
    }

   private:
    void scale(const value* from, value* to) const {
      for (std::int64_t i = 0; i < count_; ++i) to[i] = from[i] * static_cast<value>(i % T.in.size() + 1) / 8;
    }
    std::int64_t count_;
  };
};

}  // namespace

TEST_CASE("conv1d: every option") {
  check_gradients<regression<input<3, 6>, conv1d<2, 3>>>();
  check_gradients<behind<input<2, 6>, 3, conv1d<2, 3, ls::padding<1>>>>();
  check_gradients<behind<input<2, 7>, 3, conv1d<4, 3, ls::stride<2>, ls::no_bias>>>();
  check_gradients<behind<input<2, 8>, 4, conv1d<6, 2, ls::dilation<3>, ls::groups<2>>>>();
  check_gradients<
      behind<input<2, 9>, 4, conv1d<8, 3, ls::stride<3>, ls::padding<2>, ls::dilation<2>, ls::groups<4>>>>();
}

TEST_CASE("conv1d: a relu fused into it, and what follows flat") {
  check_gradients<behind<input<2, 6>, 3, conv1d<4, 3>, ls::relu, conv1d<2, 2>, ls::flatten, ls::linear<3>>>();
}

TEST_CASE("conv1d: signals without an order of their own") {
  check_gradients<regression<input<1, 6>, conv1d<3, 3>, conv1d<1, 2>>>();
  check_gradients<regression<input<4, 3>, conv1d<3, 3>, conv1d<2, 1>, ls::flatten, ls::linear<2>>>();
}

TEST_CASE("pooling of signals: every option") {
  check_gradients<behind<input<2, 7>, 3, max_pool1d<2>>>();
  check_gradients<behind<input<2, 7>, 3, max_pool1d<3, ls::stride<2>, ls::padding<1>>>>();
  check_gradients<behind<input<2, 6>, 3, avg_pool1d<2, ls::stride<1>>>>();
  check_gradients<behind<input<2, 7>, 3, avg_pool1d<3, ls::stride<2>, ls::padding<1>>>>();
  check_gradients<behind<input<2, 7>, 3, avg_pool1d<3, ls::padding<1>, ls::exclude_padding>>>();
}

TEST_CASE("signals in branches, and before layers of PyTorch's order") {
  using body = ls::sequential<conv1d<3, 3, ls::padding<1>>, ls::relu>;
  check_gradients<behind<input<2, 5>, 3, ls::residual<body>, ls::relu, conv1d<2, 2>>>();
  // The user's signal, in plain order, meets one in the backend's.
  check_gradients<regression<input<3, 5>, ls::residual<body>, conv1d<2, 2>>>();
  check_gradients<
      regression<input<3, 5>, ls::concat<ls::identity, body, conv1d<2, 1>>, ls::dropout<0.25>, conv1d<2, 2>>>();
  check_gradients<regression<input<3, 5>, ls::concat<ls::identity, body>>>();
  check_gradients<behind<input<2, 5>, 3, by_position, conv1d<2, 2>>>();
  check_gradients<behind<input<2, 5>, 3, by_position, ls::flatten, ls::linear<2>>>();
  check_gradients<regression<input<3, 5>, ls::residual<body, by_position>>>();
}

TEST_CASE("signals before and after layers that take their samples as rows") {
  check_gradients<behind<input<2, 5>, 3, ls::linear<4>, conv1d<2, 2>>>();
  check_gradients<behind<input<2, 5>, 3, ls::layer_norm<>, conv1d<2, 2>>>();
  check_gradients<behind<input<2, 5>, 3, ls::rms_norm<>, ls::flatten, ls::linear<2>>>();
  check_gradients<behind<input<2, 5>, 3, ls::softmax, conv1d<2, 2>>>();
  check_gradients<behind<input<2, 5>, 3, ls::log_softmax>>();
  check_gradients<behind<input<2, 5>, 3, ls::skippable<ls::layer_norm<>>, conv1d<2, 2>>>();
  check_gradients<behind<input<2, 6>, 4, ls::group_norm<2>, ls::relu, conv1d<2, 2>>>();
  check_gradients<regression<input<3, 5>, ls::linear<6>, ls::relu, max_pool1d<2>, ls::flatten, ls::linear<2>>>();
}
