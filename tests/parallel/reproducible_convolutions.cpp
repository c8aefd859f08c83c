// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "parallel/reproducible.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

constexpr double unlimited = std::numeric_limits<double>::infinity();
// Shards of the last two have too few tiles for Winograd's algorithm on some numbers of replicas.
constexpr std::array<std::int64_t, 4> batches{61, 64, 5, 3};
const ls::sgd optimizer{.learning_rate = 0.01F};

/// 4 tiles of 4 x 4 outputs in a picture.
using net = ls::sequential<ls::conv2d<16, 3, ls::padding<1>>, ls::relu, ls::conv2d<32, 3, ls::padding<1>>, ls::relu,
                           ls::conv2d<16, 3, ls::padding<1>>, ls::relu, ls::flatten, ls::linear<10>>;
using classifier = ls::model<net, ls::input<16, 8, 8>, ls::cross_entropy>;

template <class Algorithm>
trained_bits train_by() {
  return train_reproducibly<classifier, 1, Algorithm>(optimizer, unlimited, batches);
}

double largest_difference(const trained_bits& a, const trained_bits& b) {
  double largest = 0;
  for (std::size_t p = 0; p < a.parameters.size(); ++p)
    for (std::size_t i = 0; i < a.parameters[p].size(); ++i)
      largest = std::max(largest, double{std::abs(a.parameters[p][i] - b.parameters[p][i])});
  return largest;
}

}  // namespace

TEMPLATE_TEST_CASE("convolutions by each algorithm train to the same bits on 1, 2, 4 and 8 replicas", "[reproducible]",
                   ls::convolution::direct, ls::convolution::f2, ls::convolution::f4) {
  check_replicas_agree<classifier, TestType>(optimizer, unlimited, batches);
}

TEST_CASE("the algorithm of convolutions is the one asked for", "[reproducible]") {
  const trained_bits direct = train_by<ls::convolution::direct>();
  const trained_bits f2 = train_by<ls::convolution::f2>();
  const trained_bits f4 = train_by<ls::convolution::f4>();
  CHECK_FALSE(same_bits(direct.parameters, f4.parameters));
  CHECK_FALSE(same_bits(f2.parameters, f4.parameters));
  CHECK(largest_difference(direct, f2) < 1e-5);
  CHECK(largest_difference(direct, f4) < 1e-5);
  check_same_bits(train_reproducibly<classifier, 1>(optimizer, unlimited, batches), f4);
}
