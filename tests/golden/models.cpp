// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it computes a lot, and is built with optimisation.
#include <cstdint>
#include <string>

#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using linear_model =
    ls::model<ls::sequential<ls::named<"fc", ls::linear<10, 10>>>, ls::input<10>, ls::mean_squared_error>;
using cnn = ls::model<ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                                     ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>,
                      ls::input<3, 32, 32>, ls::cross_entropy>;
using mlp = ls::model<ls::sequential<ls::linear<784, 512>, ls::relu, ls::linear<256>, ls::relu, ls::linear<10>>,
                      ls::input<784>, ls::cross_entropy>;

constexpr double tolerance = 1e-5;

template <class Model>
void check_model(const std::string& name, const ls::sgd& optimizer) {
  for (const int replicas : {1, 2, 3, 4, 8})
    ls::with_replicas<1, 2, 3, 4, 8>(
        replicas, [&]<int N> { check_golden_batches<ls::data_parallel<Model, N>>(name, optimizer, tolerance); });
}

}  // namespace

TEST_CASE("the inputs are those that PyTorch was given", "[golden]") {
  const auto golden = golden_file("streams");
  for (const std::uint64_t stream : {std::uint64_t{1}, std::uint64_t{100}, std::uint64_t{10000}}) {
    const auto expected = golden.values_f64("uniform/" + std::to_string(stream));
    REQUIRE(expected.size() == 64);
    CHECK(relative_difference(golden_unit(stream, 64), expected) == 0);
  }
  CHECK(relative_difference(golden_symmetric(100, 64, fan_in_bound(10)), golden.values_f64("symmetric/100")) == 0);
  const auto& labels = golden.at("labels/2");
  REQUIRE(labels.dtype == "I64");
  CHECK(golden_labels(2, 64, 10) == golden.values_i64("labels/2"));
}

TEST_CASE("linear trains as in PyTorch on any number of replicas", "[golden]") {
  check_model<linear_model>("linear", {.learning_rate = 0.01F});
}

TEST_CASE("cnn trains as in PyTorch on any number of replicas", "[golden]") {
  check_model<cnn>("cnn", {.learning_rate = 0.01F});
}

TEST_CASE("mlp trains as in PyTorch on any number of replicas", "[golden]") {
  check_model<mlp>("mlp", {.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F});
}
