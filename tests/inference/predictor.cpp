// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A trained model in an inference gives what a predictor gives.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include <lockstep/inference.hpp>
#include <lockstep/lockstep.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "inference/inference_support.hpp"
#include "models/lenet.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using lenet = ls::model<models::lenet, ls::input<1, 28, 28>, ls::cross_entropy>;

using conv = ls::conv2d<12, 3, ls::padding<1>, ls::no_bias>;
using body = ls::sequential<conv, ls::batch_norm2d<>, ls::relu, conv, ls::batch_norm2d<>>;
using block = ls::sequential<ls::residual<body>, ls::relu>;
using resnet = ls::model<ls::sequential<conv, ls::batch_norm2d<>, ls::relu, ls::repeat<2, block>, ls::avg_pool2d<8>,
                                        ls::flatten, ls::dropout<>, ls::linear<7>>,
                         ls::input<3, 8, 8>, ls::cross_entropy>;
using mixer = ls::sequential<ls::layer_norm<>, ls::linear<24>, ls::gelu<>, ls::linear<16>>;
using sequences = ls::model<ls::sequential<ls::linear<8, 16>, ls::repeat<2, ls::residual<mixer>>, ls::rms_norm<>,
                                           ls::flatten, ls::linear<5>, ls::log_softmax>,
                            ls::input<6, 8>, ls::negative_log_likelihood>;

/// A trainer after three steps on random batches.
template <class Model>
struct trained {
  trained() {
    trainer.initialize(ls::seed{3});
    const auto x = random_values(8 * Model::input_dims.size(), 7);
    const std::vector<std::int64_t> labels{0, 1, 2, 3, 4, 0, 1, 2};
    for (int i = 0; i < 3; ++i) static_cast<void>(trainer.step(x, labels));
  }
  ls::data_parallel<Model, 1> trainer{ls::sgd{.learning_rate = 0.05F}};
};

template <class Model>
void require_predictions() {
  const trained<Model> after;
  const ls::predictor<Model, 1> server(after.trainer, {.max_batch = 32});
  const ls::inference<Model> model(after.trainer);
  const ls::inference<Model> served(server);
  for (std::int64_t samples = 1; samples <= 17; ++samples) {
    const auto x = random_values(samples * Model::input_dims.size(), static_cast<std::uint64_t>(samples));
    const auto wanted = server.predict(x);
    const std::span<const float> expected(wanted.data(), static_cast<std::size_t>(wanted.size()));
    std::vector<float> y(expected.size());
    model(x, y);
    require_close(y, expected);
    std::vector<float> again(expected.size());
    served(x, again);
    REQUIRE(y == again);
    if (samples == 1) {
      const auto one = model(x);
      REQUIRE(std::vector<float>(one.begin(), one.end()) == y);
    }
  }
}

}  // namespace

TEST_CASE("inference: predictions of a trained LeNet-5", "[inference]") { require_predictions<lenet>(); }
TEST_CASE("inference: predictions of a trained residual network", "[inference]") { require_predictions<resnet>(); }
TEST_CASE("inference: predictions of a trained network of rows", "[inference]") { require_predictions<sequences>(); }

TEST_CASE("inference: a NaN and an infinity come out where a predictor has them", "[inference]") {
  const trained<lenet> after;
  const ls::predictor<lenet, 1> server(after.trainer);
  const ls::inference<lenet> model(after.trainer);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()})
    for (const std::size_t at : {std::size_t{0}, std::size_t{27}, std::size_t{400}, std::size_t{783}}) {
      auto x = random_values(784);
      x[at] = bad;
      const auto wanted = server.predict(x);
      const auto y = model(x);
      for (std::size_t i = 0; i < y.size(); ++i) {
        CAPTURE(bad, at, i, y[i], wanted.data()[i]);
        CHECK(std::isnan(y[i]) == std::isnan(wanted.data()[i]));
        CHECK(std::isinf(y[i]) == std::isinf(wanted.data()[i]));
      }
    }
}

TEST_CASE("inference: an object can be copied, moved and assigned", "[inference]") {
  using small = ls::model<ls::sequential<ls::linear<8>, ls::tanh, ls::linear<2>>, ls::input<4>>;
  using large = ls::model<ls::sequential<ls::linear<200>, ls::tanh, ls::linear<200>>, ls::input<60>>;
  const auto check = []<class Model>(std::type_identity<Model>) {
    const auto x = random_values(Model::input_dims.size());
    ls::inference<Model> first(random_state<Model>(1));
    ls::inference<Model> second(random_state<Model>(2));
    const auto of_first = first(x);
    const auto of_second = second(x);
    REQUIRE(of_first != of_second);
    const auto copy = first;
    first = second;
    REQUIRE(first(x) == of_second);
    REQUIRE(copy(x) == of_first);
    second = ls::inference<Model>(copy);
    REQUIRE(second(x) == of_first);
    const std::vector<ls::inference<Model>> many(3, first);
    REQUIRE(many.back()(x) == of_second);
  };
  check(std::type_identity<small>{});
  check(std::type_identity<large>{});
}

TEST_CASE("inference: several threads share one object", "[inference]") {
  const auto state = random_state<lenet>();
  const ls::inference<lenet> model(state);
  const auto x = random_values(8 * 784);
  std::vector<float> wanted(80);
  model(x, wanted);
  std::array<bool, 4> equal{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < equal.size(); ++t)
    threads.emplace_back([&, t] {
      bool same = true;
      for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t sample = (i + t) % 8;
        const auto y = model(std::span(x).subspan(sample * 784, 784));
        for (std::size_t k = 0; k < 10; ++k) same = same && std::abs(y[k] - wanted[sample * 10 + k]) <= 1e-5F;
      }
      equal[t] = same;
    });
  for (auto& thread : threads) thread.join();
  for (const bool same : equal) CHECK(same);
}
