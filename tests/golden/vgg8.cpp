// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it computes a lot, and is built with optimisation.
#include "models/vgg8.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>

#include "golden/golden.hpp"

/// \file
/// The gradients of vgg8 by each algorithm of its convolutions, every element against double precision, which a file of
/// PyTorch's holds to its definition.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using classifier = ls::model<models::vgg8<10>, ls::input<3, 32, 32>, ls::cross_entropy>;

// The smallest pictures, of 8 x 8, have four tiles of F(4, 3), and twelve are the least that Winograd's algorithm
// takes: of three samples in one pass it computes every convolution of 3 x 3 but the first.
constexpr std::int64_t samples = 3;
static_assert(ls::micro_shard<classifier, ls::cpu> >= samples);

struct first_step {
  double loss;
  std::vector<std::string> names;
  std::vector<std::vector<double>> gradients;
};

template <class... Policies>
first_step take_step() {
  using trainer_type = ls::data_parallel<classifier, 1, Policies...>;
  using value = typename trainer_type::value_type;
  trainer_type trainer(ls::sgd{.learning_rate = 0.01F}, {}, {.pin = false});
  start_as_golden(trainer);
  const auto pixels = golden_symmetric(2069, samples * 3072);  // as generate_vgg8.py has found them
  const std::vector<value> x(pixels.begin(), pixels.end());
  first_step result;
  result.loss = trainer.step(typename trainer_type::input_view(x.data(), samples), golden_labels(2, samples, 10));
  for (const auto& gradient : trainer.gradients()) {
    const auto values = gradient.values();
    result.names.emplace_back(gradient.name());
    result.gradients.emplace_back(values.begin(), values.end());
  }
  return result;
}

/// In double precision, within 1e-12 of PyTorch's.
const first_step& expected() {
  static const first_step step = [] {
    first_step result = take_step<ls::reference<double>>();
    const auto golden = golden_file("vgg8");
    CHECK(is_close(result.loss, golden.values_f64("loss")[0], {.relative = 1e-12}));
    for (std::size_t p = 0; p < result.names.size(); ++p)
      check_golden_gradient(golden, "grad/" + result.names[p], result.gradients[p], 1e-12);
    return result;
  }();
  return step;
}

template <class Algorithm>
void check_algorithm() {
  const first_step given = take_step<Algorithm>();
  CHECK(is_close(given.loss, expected().loss, {.relative = 1e-6}));
  REQUIRE(given.names == expected().names);
  REQUIRE(given.names.size() == 16);
  for (std::size_t p = 0; p < given.names.size(); ++p) {
    const double difference = relative_difference(given.gradients[p], expected().gradients[p]);
    INFO(given.names[p]);
    CHECK(difference <= 1e-5);
  }
}

}  // namespace

TEST_CASE("the gradients of vgg8 by Winograd's F(4, 3) are those of double precision", "[golden]") {
  check_algorithm<ls::convolution::f4>();
}

TEST_CASE("the gradients of vgg8 by Winograd's F(2, 3) are those of double precision", "[golden]") {
  check_algorithm<ls::convolution::f2>();
}

TEST_CASE("the gradients of vgg8 by direct sums are those of double precision", "[golden]") {
  check_algorithm<ls::convolution::direct>();
}
