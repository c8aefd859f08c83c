// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <vector>

#include "model/networks.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"
#include "support/user_layer.hpp"

// An executor prepares for the largest batch it has met. What it then makes of a smaller one must not depend on what it
// has met before: the results have the bits of an executor that meets this batch first.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

/// The identity, bound to the number of samples it was made for.
struct bound : same_extents {
  static constexpr std::string_view kind = "bound";

  template <class B, ls::node_traits T>
  class op {
    using activation = typename B::activation_type;

   public:
    op(typename B::context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void forward(typename B::context&, const ls::pass&, const activation* x, const activation*, activation* y) {
      std::copy_n(x, count_, y);
    }
    void backward(typename B::context&, const ls::pass&, const ls::backward_arguments<B>& a) {
      if constexpr (T.input_gradient) std::copy_n(a.dy, count_, a.dx);
    }

   private:
    std::int64_t count_;
  };
};

using with_bound_layer =
    ls::model<ls::sequential<ls::linear<20>, bound, ls::relu, ls::linear<3>>, ls::input<7>, ls::mean_squared_error>;
using with_skippable = ls::model<ls::sequential<ls::linear<20>, ls::skippable<ls::linear<20>>, ls::linear<3>>,
                                 ls::input<7>, ls::mean_squared_error>;
using wide_layers = ls::model<ls::sequential<ls::linear<48>, ls::relu, ls::linear<40>, ls::relu, ls::linear<10>>,
                              ls::input<30>, ls::cross_entropy>;

/// The pass of a batch, and what it wrote.
template <class Model, class B>
struct pass_of {
  using value = typename B::value_type;
  using loss_type = typename Model::loss_type;
  using target = typename loss_type::template target_type<value>;

  pass_of(ls::executor<Model, B>& device, const value* parameters, const std::vector<value>& x,
          const std::vector<target>& targets, std::int64_t samples, bool accumulate)
      : output(static_cast<std::size_t>(samples * Model::output_dims.size())),
        gradients(static_cast<std::size_t>(Model::parameter_count), value{0.5}) {
    loss = device.train(parameters, gradients.data(), x.data(), targets.data(), samples, {.scale = 0.125}, accumulate);
    device.forward(parameters, x.data(), samples, output.data());
  }

  /// Equal in all bits: a NaN too.
  friend bool operator==(const pass_of& a, const pass_of& b) {
    const auto same = [](const std::vector<value>& p, const std::vector<value>& q) {
      return p.size() == q.size() && std::memcmp(p.data(), q.data(), p.size() * sizeof(value)) == 0;
    };
    return std::bit_cast<std::uint64_t>(a.loss) == std::bit_cast<std::uint64_t>(b.loss) && same(a.output, b.output) &&
           same(a.gradients, b.gradients);
  }

  double loss = 0;
  std::vector<value> output, gradients;
};

/// `largest`: batches with more samples are left out.
template <class Model, class B>
void check_sizes(bool with_nan = false, std::int64_t largest = std::numeric_limits<std::int64_t>::max()) {
  using tested = pass_of<Model, B>;
  using value = typename B::value_type;
  INFO(B::name);
  constexpr std::int64_t micro = ls::micro_shard<Model, B>;
  constexpr std::int64_t most = 2 * micro + 3;
  REQUIRE(micro > 70);
  ls::aligned_buffer<value> parameters(Model::parameter_count);
  ls::initialize_parameters<Model, B>(parameters.data(), ls::seed{3});
  const ls::random_stream random(ls::seed{88}, ls::random_purpose::synthetic_data, 1);
  std::vector<value> x(static_cast<std::size_t>(most * Model::input_dims.size()));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<value>(2.F * random.uniform(i) - 1.F);
  if (with_nan) x[x.size() / most * 4] = std::numeric_limits<value>::quiet_NaN();  // the fifth sample's first element
  std::vector<typename tested::target> targets(
      static_cast<std::size_t>(most * Model::loss_type::target_size(Model::output_dims)));
  for (std::size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<typename tested::target>(i % 3);

  ls::executor<Model, B> kept;
  // Growing, shrinking, the same again, all the small ones, and more than one micro-shard: of which the last is full,
  // or holds one sample, or a few.
  for (const std::int64_t samples : std::initializer_list<std::int64_t>{
           5,  6,  4,  33, 31, 33,        1,     70,        69,        2, 3,         7, 8,
           15, 16, 17, 64, 70, micro + 1, micro, micro - 1, 2 * micro, 6, micro + 2, 1, most})
    for (const bool accumulate : {false, true}) {
      if (samples > largest) continue;
      INFO(samples << " samples, accumulate " << accumulate);
      ls::executor<Model, B> fresh;
      CHECK(tested(kept, parameters.data(), x, targets, samples, accumulate) ==
            tested(fresh, parameters.data(), x, targets, samples, accumulate));
    }
}

}  // namespace

TEST_CASE("a batch gives the same bits whatever sizes came before", "[executor]") {
  SECTION("pictures") { check_sizes<deep, ls::cpu>(); }
  SECTION("pictures, one of which has a NaN") { check_sizes<deep, ls::cpu>(true); }
  SECTION("a pooling first") { check_sizes<relu_first, ls::cpu>(); }
  SECTION("narrow layers") { check_sizes<one_layer, ls::cpu>(); }
  SECTION("wide layers") { check_sizes<wide_layers, ls::cpu>(); }
  SECTION("a skippable layer") { check_sizes<with_skippable, ls::cpu>(); }
  SECTION("a user's layer that is bound to its number of samples") { check_sizes<with_bound_layer, ls::cpu>(); }
  SECTION("the definitions") {
    // Large batches take it half a minute, and those of 64 and 70 samples under a sanitizer too.
    check_sizes<deep, ls::reference<double>>(false, LOCKSTEP_TEST_SANITIZED() ? 8 : 70);
    check_sizes<relu_first, ls::reference<double>>();
    check_sizes<with_bound_layer, ls::reference<double>>();
  }
}

TEST_CASE("which ops serve smaller batches is known to the compiler", "[executor]") {
  STATIC_REQUIRE(ls::detail::pipeline<deep, ls::cpu>::takes_fewer);
  STATIC_REQUIRE(ls::detail::pipeline<with_dropout, ls::cpu>::takes_fewer);
  STATIC_REQUIRE(ls::detail::pipeline<with_skippable, ls::cpu>::takes_fewer);
  STATIC_REQUIRE(ls::detail::pipeline<deep, ls::reference<double>>::takes_fewer);
  STATIC_REQUIRE(!ls::detail::pipeline<with_bound_layer, ls::cpu>::takes_fewer);
}
