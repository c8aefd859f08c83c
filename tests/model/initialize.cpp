// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "model/networks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"
#include "support/user_layer.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

/// The tensors of a freshly initialised model, in PyTorch's order.
template <class Model, class B>
std::vector<std::vector<typename B::value_type>> initial(ls::seed s) {
  ls::aligned_buffer<typename B::value_type> parameters(Model::parameter_count);
  ls::initialize_parameters<Model, B>(parameters.data(), s);
  std::vector<std::vector<typename B::value_type>> all;
  for (const auto& each : ls::named_values_range<Model, B, 1, false>({parameters.data()})) all.push_back(each.values());
  return all;
}

/// A user's layer with one number as its parameter.
struct one_number : same_extents {
  static constexpr std::string_view kind = "one_number";

  static constexpr ls::parameter_list parameters(const ls::dims&) {
    ls::parameter_list list;
    list.add("scale", ls::dims{}, 0.5);
    return list;
  }

  template <class B, ls::node_traits T>
  struct op {
    op(typename B::context&, std::int64_t) {}
  };
};

}  // namespace

TEST_CASE("weights and biases are uniform in +-1/sqrt(fan_in)", "[initialize]") {
  const auto all = initial<mlp, ls::cpu>(ls::seed{42});
  const std::array<double, 6> fan_in{784, 784, 512, 512, 256, 256};
  REQUIRE(all.size() == 6);
  for (std::size_t p = 0; p < all.size(); ++p) {
    INFO("parameter " << p);
    const double bound = 1 / std::sqrt(fan_in[p]);
    const auto n = static_cast<double>(all[p].size());
    double sum = 0;
    double squares = 0;
    for (const float v : all[p]) {
      sum += double{v};
      squares += double{v} * double{v};
    }
    const double largest = largest_magnitude(all[p]);
    CHECK(largest <= bound * (1 + 1e-6));
    // Standard deviations of the two estimates for n draws of U(-bound, bound); five of them.
    CHECK(std::abs(sum / n) <= 5 * bound / std::sqrt(3 * n));
    CHECK(std::abs(squares / n - bound * bound / 3) <= 5 * bound * bound * std::sqrt(4.0 / 45 / n));
    if (n > 1000) CHECK(largest > 0.99 * bound);
  }
  // The fan-in of a convolution is channels times kernel.
  const auto pictures = initial<cnn, ls::cpu>(ls::seed{42});
  const double bound = 1 / std::sqrt(27.0);
  const auto [low, high] = std::minmax_element(pictures[0].begin(), pictures[0].end());
  CHECK(*low >= -bound * (1 + 1e-6));
  CHECK(*high <= bound * (1 + 1e-6));
  CHECK(*high - *low > 1.98 * bound);
}

TEST_CASE("a parameter without extents is drawn too", "[initialize]") {
  const auto all = initial<ls::model<one_number, ls::input<3>>, ls::cpu>(ls::seed{42});
  REQUIRE(all.size() == 1);
  REQUIRE(all[0].size() == 1);
  CHECK(all[0][0] != 0);
  CHECK(std::abs(all[0][0]) <= 0.5F);
}

TEST_CASE("the bound is the inverse square root", "[initialize]") {
  for (const std::int64_t fan_in : {1, 2, 3, 10, 27, 784, 3072, 65536, 1 << 24})
    CHECK(ls::detail::default_bound(fan_in) == Approx(1 / std::sqrt(static_cast<double>(fan_in))).epsilon(1e-14));
}

TEST_CASE("element i of parameter p is draw i of stream p, for every backend", "[initialize]") {
  const auto ours = initial<cnn, ls::cpu>(ls::seed{7});
  const auto plain = initial<cnn, ls::reference<double>>(ls::seed{7});
  REQUIRE(ours.size() == plain.size());
  const std::array<double, 4> fan_in{27, 27, 65536, 65536};
  for (std::size_t p = 0; p < ours.size(); ++p) {
    INFO("parameter " << p);
    const ls::random_stream stream(ls::seed{7}, ls::random_purpose::initialization, p);
    const auto bound = static_cast<float>(1 / std::sqrt(fan_in[p]));
    REQUIRE(ours[p].size() == plain[p].size());
    int different = 0;
    for (std::size_t i = 0; i < ours[p].size(); ++i) {
      const float expected = (2.F * stream.uniform(i) - 1.F) * bound;
      if (ours[p][i] != expected || plain[p][i] != double{expected}) ++different;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("another seed gives other numbers, and no two tensors share theirs", "[initialize]") {
  const auto first = initial<mlp, ls::cpu>(ls::seed{1});
  const auto second = initial<mlp, ls::cpu>(ls::seed{2});
  std::set<float> beginnings;
  for (std::size_t p = 0; p < first.size(); ++p) {
    CHECK(first[p] != second[p]);
    beginnings.insert(first[p][0] / first[p][1]);
  }
  CHECK(beginnings.size() == first.size());
  CHECK(initial<mlp, ls::cpu>(ls::seed{1}) == first);
}

TEST_CASE("replicas start from the same numbers, however many there are", "[initialize]") {
  using small = ls::model<ls::sequential<ls::conv2d<4, 3>, ls::relu, ls::flatten, ls::linear<6>>, ls::input<2, 5, 5>,
                          ls::cross_entropy>;
  const auto expected = initial<small, ls::cpu>(ls::seed{11});
  const auto check = [&]<int N> {
    ls::data_parallel<small, N> trainer;
    trainer.initialize(ls::seed{11});
    std::vector<std::vector<float>> all;
    for (const auto& each : trainer.parameters()) all.push_back(each.values());
    CHECK(all == expected);
  };
  check.operator()<1>();
  check.operator()<3>();
}
