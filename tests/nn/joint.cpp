// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <lockstep/lockstep.hpp>
#include <lockstep/nn/bind.hpp>
#include <lockstep/nn/feed.hpp>

#include "nn/support.hpp"

// Layers that read several values, and values that have names.

using namespace lockstep_test;

namespace joint_layers {

/// y = w a b, element by element, with one parameter w for each element. A second layer of the kind reads a third value
/// and adds it.
template <int Operands>
struct product {
  static constexpr std::string_view kind = "product";
  static constexpr ls::layer_traits traits{.operands = Operands};
  using extents = std::array<ls::dims, static_cast<std::size_t>(Operands)>;

  static constexpr ls::dims output(const extents& in) { return in[0]; }
  static constexpr ls::parameter_list parameters(const extents& in) {
    ls::parameter_list list;
    list.add("weight", in[0], 1.0);
    return list;
  }
  static constexpr std::int64_t flops(const extents& in) { return 2 * in[0].size(); }

  template <class B, ls::node_traits T, extents In>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr std::int64_t size = In[1].size();
    static_assert(In[1] == T.in && In[Operands - 1] == T.in);

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    void forward(context&, const ls::pass&, const std::array<const activation*, Operands>& x, const activation* w,
                 activation* y) {
      for (std::int64_t i = 0; i < samples_ * size; ++i) {
        y[i] = w[i % size] * x[0][i] * x[1][i];
        if constexpr (Operands > 2) y[i] += x[2][i];
      }
    }
    void backward(context&, const ls::pass&, const ls::joint_backward_arguments<B, Operands>& a) {
      if (!a.accumulate) std::fill_n(a.gradients, size, 0);
      for (std::int64_t i = 0; i < samples_ * size; ++i) {
        a.gradients[i % size] += a.dy[i] * a.x[0][i] * a.x[1][i];
        if (a.dx[0] != nullptr) a.dx[0][i] = a.dy[i] * a.parameters[i % size] * a.x[1][i];
        if (a.dx[1] != nullptr) a.dx[1][i] = a.dy[i] * a.parameters[i % size] * a.x[0][i];
        if constexpr (Operands > 2)
          if (a.dx[2] != nullptr) a.dx[2][i] = a.dy[i];
      }
    }

   private:
    std::int64_t samples_;
  };
};

/// Keeps the first rows of (T, C), as many as a token of the sample says, and makes zeros of the others.
template <std::int64_t T>
struct keep_rows {
  static constexpr std::string_view kind = "keep_rows";
  static constexpr ls::layer_traits traits{.operands = 2, .token_operands = 2};
  static constexpr std::int64_t vocabulary = T + 1;
  using extents = std::array<ls::dims, 2>;

  static constexpr ls::dims output(const extents& in) { return in[0]; }
  static constexpr ls::parameter_list parameters(const extents&) { return ls::parameter_list{}; }
  static constexpr std::int64_t flops(const extents&) { return 0; }

  template <class B, ls::node_traits Traits, extents In>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static_assert(In[1] == ls::dims{1});
    static constexpr std::int64_t width = In[0][1];

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    void forward(context&, const ls::pass&, const std::array<const activation*, 2>& x, const activation*, activation* y,
                 const ls::token_id* lengths) {
      copy(x[0], lengths, y);
    }
    void backward(context&, const ls::pass&, const ls::joint_backward_arguments<B, 2>& a, const ls::token_id* lengths) {
      copy(a.dy, lengths, a.dx[0]);
    }

   private:
    void copy(const activation* from, const ls::token_id* lengths, activation* to) const {
      for (std::int64_t i = 0; i < samples_ * T * width; ++i)
        to[i] = i / width % T < lengths[i / (T * width)] ? from[i] : activation{0};
    }
    std::int64_t samples_;
  };
};

static_assert(ls::joint_layer<product<2>>);
static_assert(!ls::joint_layer<ls::linear<3>>);
static_assert(!ls::layer<product<2>>);

template <class... Layers>
using on_five = regression<ls::input<5>, Layers...>;
constexpr settings several{.samples = 5};

// Both operands have gradients; one is what arrives; both are one value.
using two_branches =
    on_five<ls::linear<4>, ls::tanh,
            ls::feed<ls::named<"gate", product<2>>, ls::linear<4>, ls::sequential<ls::linear<4>, ls::tanh>>,
            ls::linear<2>>;
using with_arriving =
    on_five<ls::linear<4>, ls::feed<product<2>, ls::identity, ls::linear<4>>, ls::tanh, ls::linear<2>>;
using squared = on_five<ls::linear<4>, ls::feed<product<2>, ls::identity, ls::identity>, ls::linear<2>>;
using of_samples = on_five<ls::feed<product<2>, ls::identity, ls::linear<5>>, ls::linear<2>>;
using three = on_five<ls::linear<4>, ls::feed<product<3>, ls::identity, ls::linear<4>, ls::identity>, ls::relu,
                      ls::residual<ls::feed<product<2>, ls::linear<4>, ls::identity>>, ls::linear<2>>;
// Pictures come in plain order.
using pictures = regression<ls::input<2, 4, 3>, ls::conv2d<3, 2>, ls::feed<product<2>, ls::tanh, ls::conv2d<3, 1>>,
                            ls::flatten, ls::linear<2>>;
// Frozen, tied, and among statistics of the batch, where other micro-shards run in between.
using wrapped = on_five<ls::linear<4>, ls::feed<ls::tied<"gate", product<2>>, ls::identity, ls::linear<4>>, ls::tanh,
                        ls::feed<ls::tied<"gate", product<2>>, ls::linear<4>, ls::identity>, ls::linear<2>>;
using normalised =
    on_five<ls::linear<4>, ls::batch_norm1d<ls::epsilon<0.25>>, ls::feed<product<2>, ls::identity, ls::linear<4>>,
            ls::batch_norm1d<ls::epsilon<0.25>>, ls::linear<2>>;
// A value that is read far away, twice, and one that is bound inside.
using bound = on_five<
    ls::bind<"memory", ls::sequential<ls::linear<4>, ls::tanh>,
             ls::sequential<ls::linear<4>, ls::feed<product<2>, ls::identity, ls::from<"memory">>,
                            ls::bind<"memory", ls::linear<4>, ls::sum<ls::from<"memory", ls::tanh>, ls::identity>>,
                            ls::sum<ls::identity, ls::from<"memory", ls::linear<4>>>>>,
    ls::linear<2>>;

}  // namespace joint_layers

using namespace joint_layers;

TEST_CASE("gradients of layers that read several values", "[joint]") {
  SECTION("two branches") { check_gradients<two_branches>({}, several); }
  SECTION("what arrives") { check_gradients<with_arriving>({}, several); }
  SECTION("one value twice") { check_gradients<squared>({}, several); }
  SECTION("samples") { check_gradients<of_samples>({}, several); }
  SECTION("three values") { check_gradients<three>({}, several); }
  SECTION("pictures") { check_gradients<pictures>({}, several); }
  SECTION("tied") { check_gradients<wrapped>({}, several); }
  SECTION("among normalised batches") { check_gradients<normalised>({}, several); }
  SECTION("bound values") { check_gradients<bound>({}, several); }
}

TEST_CASE("a feed's layer stands in the place of the feed, and a bind's parts have positions", "[joint]") {
  CHECK(std::string(two_branches::paths[3].view()) == "2.1.0");
  CHECK(std::string(two_branches::paths[5].view()) == "2.gate");
  CHECK(std::string(with_arriving::paths[2].view()) == "1");
  CHECK(std::string(bound::paths[0].view()) == "0.0.0");
  CHECK(std::string(bound::paths[2].view()) == "0.1.0");
}

TEST_CASE("tokens beside values tell a layer the length of each sample", "[joint][tokens]") {
  constexpr std::int64_t length = 4;
  using model =
      ls::model<ls::sequential<ls::feed<keep_rows<length>, ls::from<"rows", ls::linear<3>>, ls::from<"length">>,
                               ls::flatten, ls::linear<2>>,
                ls::inputs<ls::named<"rows", ls::input<length, 2>>, ls::named<"length", ls::tokens<1>>>,
                ls::mean_squared_error>;
  STATIC_REQUIRE(model::graph.inputs[1].vocabulary == length + 1);
  ls::data_parallel<model, 2> trainer(ls::sgd{.learning_rate = 0.25F});
  const doubles drawn = uniform(3 * length * 2, 1);
  std::vector<float> rows(drawn.begin(), drawn.end());
  const std::vector<std::int64_t> lengths{4, 1, 0};
  const std::vector<float> targets(6, 1.F);
  const auto before = trainer.forward(std::tie(rows, lengths));
  const double loss = trainer.step(std::tie(rows, lengths), targets);
  // What lies beyond a length changes neither outputs nor gradients.
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<std::int64_t>(i / 2 % length) >= lengths[i / (2 * length)]) rows[i] = 100;
  ls::data_parallel<model, 1> other(ls::sgd{.learning_rate = 0.25F});
  const auto after = other.forward(std::tie(rows, lengths));
  CHECK(std::equal(before.begin(), before.end(), after.begin()));
  CHECK(other.step(std::tie(rows, lengths), targets) == Approx(loss).epsilon(1e-6));
  auto expected = trainer.parameters().begin();
  for (const auto& parameter : other.parameters()) {
    CHECK(relative_difference(parameter.values(), (*expected).values()) <= 1e-6);
    ++expected;
  }
  const std::vector<std::int64_t> too_long{4, 5, 0};
  CHECK_THROWS_AS(trainer.step(std::tie(rows, too_long), targets), ls::value_error);
}
