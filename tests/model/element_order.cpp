// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "model/networks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"
#include "support/user_layer.hpp"

// A layer that says nothing of order reads and writes its elements as PyTorch counts them, wherever it stands.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

/// y[i] = x[i] (i + 1) / size, where i is the index of the element in plain order.
struct index_scale : same_extents {
  static constexpr std::string_view kind = "index_scale";

  template <class B, ls::node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void forward(context&, const ls::pass&, const activation* x, const activation*, activation* y) { scale(x, y); }
    void backward(context&, const ls::pass&, const ls::backward_arguments<B>& a) {
      if constexpr (T.input_gradient) scale(a.dy, a.dx);
    }

   private:
    void scale(const activation* from, activation* to) const {
      constexpr std::int64_t size = T.in.size();
      for (std::int64_t k = 0; k < samples_ * size; ++k)
        to[k] = from[k] * static_cast<activation>(k % size + 1) / static_cast<activation>(size);
    }

    std::int64_t samples_;
  };
};

/// y = slope x, with one slope for all elements: the same in any order.
struct shared_slope : same_extents {
  static constexpr std::string_view kind = "shared_slope";
  static constexpr ls::layer_traits traits{.takes_any_order = true};
  static constexpr ls::parameter_list parameters(const ls::dims&) {
    ls::parameter_list list;
    list.add("slope", ls::dims{1}, 1);
    return list;
  }

  template <class B, ls::node_traits T>
  class op {
    using value = typename B::value_type;
    using activation = typename B::activation_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void forward(context&, const ls::pass&, const activation* x, const activation* slope, activation* y) {
      for (std::int64_t i = 0; i < count_; ++i) y[i] = slope[0] * x[i];
    }
    void backward(context&, const ls::pass&, const ls::backward_arguments<B>& a) {
      double sum = 0;
      for (std::int64_t i = 0; i < count_; ++i) sum += double{a.dy[i]} * double{a.x[i]};
      a.gradients[0] = (a.accumulate ? a.gradients[0] : value{0}) + static_cast<value>(sum);
      if constexpr (T.input_gradient)
        for (std::int64_t i = 0; i < count_; ++i) a.dx[i] = a.parameters[0] * a.dy[i];
    }

   private:
    std::int64_t count_;
  };
};

/// The mean of each plane of a picture, which it takes in the backend's order: (C, H, W) becomes (C).
struct plane_means {
  static constexpr std::string_view kind = "plane_means";
  static constexpr ls::layer_traits traits{.needs_picture_order = true, .backward_reads_input = false};
  static constexpr ls::dims output(const ls::dims& in) { return ls::dims{in[0]}; }
  static constexpr ls::parameter_list parameters(const ls::dims&) { return ls::parameter_list{}; }
  static constexpr std::int64_t flops(const ls::dims& in) { return in.size(); }

  template <class B, ls::node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr std::int64_t channels = T.in[0];
    static constexpr std::int64_t pixels = T.in[1] * T.in[2];

    static constexpr std::int64_t place(std::int64_t c, std::int64_t p) {
      return B::picture_order == ls::element_order::channels_last ? p * channels + c : c * pixels + p;
    }

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void forward(context&, const ls::pass&, const activation* x, const activation*, activation* y) {
      for (std::int64_t s = 0; s < samples_; ++s)
        for (std::int64_t c = 0; c < channels; ++c) {
          double sum = 0;
          for (std::int64_t p = 0; p < pixels; ++p) sum += double{x[s * T.in.size() + place(c, p)]};
          y[s * channels + c] = static_cast<activation>(sum / pixels);
        }
    }
    void backward(context&, const ls::pass&, const ls::backward_arguments<B>& a) {
      if constexpr (T.input_gradient)
        for (std::int64_t s = 0; s < samples_; ++s)
          for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t p = 0; p < pixels; ++p)
              a.dx[s * T.in.size() + place(c, p)] = a.dy[s * channels + c] / static_cast<activation>(pixels);
    }

   private:
    std::int64_t samples_;
  };
};

template <class... Layers>
using picture_model = ls::model<ls::sequential<Layers...>, ls::input<3, 8, 6>, ls::mean_squared_error>;

using first = picture_model<index_scale, ls::conv2d<4, 3>>;
using between = picture_model<ls::conv2d<4, 3>, ls::relu, index_scale, ls::conv2d<5, 3>, ls::relu>;
using behind_pooling = picture_model<ls::conv2d<4, 3>, ls::max_pool2d<2>, index_scale>;
using behind_flatten = picture_model<ls::conv2d<4, 3>, ls::flatten, index_scale, ls::linear<7>>;
using last_of_flat = picture_model<ls::conv2d<4, 3>, ls::flatten, ls::dropout<0.0>, index_scale>;
using skipped = picture_model<ls::conv2d<4, 3>, ls::skippable<index_scale>, ls::relu, ls::flatten,
                              ls::skippable<index_scale>, ls::linear<3>>;

using slope_of_flat = picture_model<ls::conv2d<4, 3>, ls::flatten, shared_slope, ls::linear<7>>;
using slope_last = picture_model<ls::conv2d<4, 3>, ls::flatten, shared_slope>;
using skippable_slope = picture_model<ls::conv2d<4, 3>, ls::flatten, ls::skippable<shared_slope>, ls::linear<7>>;
using means_last = picture_model<ls::conv2d<4, 3>, plane_means>;
using means_between = picture_model<ls::conv2d<4, 3>, plane_means, index_scale, ls::linear<3>>;

struct result {
  std::vector<double> output, gradients;
};

template <class Model, class B>
result run() {
  using value = typename B::value_type;
  constexpr std::int64_t samples = 5;
  const auto draws = [](std::uint64_t stream, std::int64_t n) {
    const ls::random_stream random(ls::seed{88}, ls::random_purpose::synthetic_data, stream);
    std::vector<value> all(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<value>(2.F * random.uniform(i) - 1.F);
    return all;
  };
  ls::aligned_buffer<value> parameters(Model::parameter_count);
  ls::aligned_buffer<value> gradients(Model::parameter_count);
  ls::initialize_parameters<Model, B>(parameters.data(), ls::seed{3});
  const auto x = draws(1, samples * Model::input_dims.size());
  const auto t = draws(2, samples * Model::output_dims.size());
  ls::executor<Model, B> device;
  std::vector<value> y(static_cast<std::size_t>(samples * Model::output_dims.size()));
  device.forward(parameters.data(), x.data(), samples, y.data());
  static_cast<void>(device.train(parameters.data(), gradients.data(), x.data(), t.data(), samples, {.scale = 0.125}));
  result r;
  r.output.assign(y.begin(), y.end());
  for (const auto& each : ls::named_values_range<Model, B, 1, false>({gradients.data()}))
    for (const value v : each.values()) r.gradients.push_back(v);
  return r;
}

/// The CPU, whose pictures lie channels-last, against the definitions, whose lie plain.
template <class Model>
void check() {
  const result given = run<Model, ls::cpu>();
  const result expected = run<Model, ls::reference<double>>();
  CHECK(relative_difference(given.output, expected.output) <= 1e-5);
  CHECK(relative_difference(given.gradients, expected.gradients) <= 1e-5);
}

template <class Model>
std::vector<ls::node_kind> kinds() {
  const auto& plan = Model::template plan<ls::cpu>;
  std::vector<ls::node_kind> all;
  for (int i = 0; i < plan.node_count; ++i) all.push_back(plan.nodes[static_cast<std::size_t>(i)].kind);
  return all;
}

}  // namespace

TEST_CASE("a user's layer gets plain order wherever it stands", "[plan][executor]") {
  SECTION("first") { check<first>(); }
  SECTION("between convolutions") { check<between>(); }
  SECTION("behind a pooling") { check<behind_pooling>(); }
  SECTION("behind a flatten") { check<behind_flatten>(); }
  SECTION("last, flat") { check<last_of_flat>(); }
  SECTION("skippable") { check<skipped>(); }
}

TEST_CASE("a layer with parameters that takes any order leaves the order as it is", "[plan][executor]") {
  SECTION("before a linear layer") { check<slope_of_flat>(); }
  SECTION("last") { check<slope_last>(); }
  SECTION("skippable") { check<skippable_slope>(); }
}

TEST_CASE("a layer that makes a vector of a picture leaves plain order", "[plan][executor]") {
  SECTION("last") { check<means_last>(); }
  SECTION("before layers of vectors") { check<means_between>(); }
}

TEST_CASE("order changes before a layer that wants plain order, and not before one that takes any", "[plan]") {
  using kind = ls::node_kind;
  using list = std::vector<kind>;
  CHECK(kinds<between>() == list{kind::to_channels_last, kind::layer, kind::to_plain, kind::layer,
                                 kind::to_channels_last, kind::layer, kind::to_plain});
  CHECK(kinds<first>() == list{kind::layer, kind::to_channels_last, kind::layer, kind::to_plain});
  CHECK(kinds<behind_flatten>() ==
        list{kind::to_channels_last, kind::layer, kind::alias, kind::to_plain, kind::layer, kind::layer});
  // What the library's own layers cost is as before: they say that they take any order.
  CHECK(kinds<picture_model<ls::conv2d<4, 3>, ls::dropout<>, ls::max_pool2d<2>, ls::relu, ls::flatten, ls::dropout<>,
                            ls::relu, ls::linear<3>>>() == list{kind::to_channels_last, kind::layer, kind::layer,
                                                                kind::layer, kind::layer, kind::alias, kind::layer,
                                                                kind::layer, kind::layer});
}
