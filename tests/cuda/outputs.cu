// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "device.hpp"
#include "training.hpp"

// Models with several outputs: their targets travel in one packet or, where they are large, each by itself.

namespace {

using namespace lockstep_test;

using heads = ls::outputs<ls::named<"class", ls::sequential<ls::flatten, ls::linear<5>>>,
                          ls::named<"mask", ls::conv2d<1, 3, ls::padding<1>>>,
                          ls::named<"box", ls::sequential<ls::flatten, ls::linear<6>, ls::relu, ls::linear<3>>>>;
using detector =
    ls::model<ls::sequential<ls::conv2d<4, 3, ls::padding<1>>, ls::relu, heads>, ls::input<2, 12, 12>,
              ls::losses<ls::weighted<0.5, ls::named<"box", ls::mean_squared_error>>,
                         ls::named<"class", ls::cross_entropy>, ls::named<"mask", ls::mean_squared_error>>>;

/// Sizes that come again, so that work is replayed; 300 masks are more than a packet takes.
template <class Trainer>
losses_and_values train_detector(const ls::trainer_options& options = {}) {
  Trainer trainer({.learning_rate = 0.05F, .momentum = 0.9F}, {}, options);
  trainer.initialize(ls::seed{5});
  losses_and_values result;
  std::uint64_t stream = 1000;
  const auto each_batch = [&](std::int64_t samples, const auto& f) {
    const floats x = draws(stream++, samples * detector::input_dims.size());
    auto classes = class_draws(stream++, samples, 5);
    classes[0] = -100;
    const floats masks = draws(stream++, samples * 144);
    const floats boxes = draws(stream++, samples * 3);
    f(batch<detector>(x), std::tie(classes, masks, boxes));
  };
  for (const std::int64_t samples : {12, 7, 12, 2, 300, 12, 12, 300})
    each_batch(samples, [&](const auto& x, const auto& targets) {
      result.losses.push_back(trainer.step(x, targets));
      result.losses.insert(result.losses.end(), trainer.losses().begin(), trainer.losses().end());
    });
  each_batch(33, [&](const auto& x, const auto& targets) {
    result.losses.push_back(trainer.accumulate(x, targets));
    const auto score = trainer.evaluate(x, targets);
    result.losses.push_back(score.loss());
    result.losses.push_back(static_cast<double>(score[0].counted));
    const auto keep = [&](const auto&... y) { (result.values.emplace_back(y.begin(), y.end()), ...); };
    std::apply(keep, trainer.forward(x));
    const ls::predictor<detector, 1, typename Trainer::backend_type> server(trainer, {.max_batch = 8});
    std::apply(keep, server.predict(x));
  });
  for (const floats& parameter : all_values(trainer.parameters())) result.values.push_back(parameter);
  return result;
}

template <int N, class B = ls::cuda>
using trainer_of = ls::data_parallel<detector, N, B>;

}  // namespace

TEST_CASE("models with several outputs train on devices as on the host", "[trainer][outputs]") {
  LOCKSTEP_NEEDS_DEVICE();
  const losses_and_values expected = train_detector<trainer_of<1, ls::reference<float>>>();
  SECTION("one replica") { check_close(train_detector<trainer_of<1>>(), expected, 1e-4); }
  SECTION("two on one device") { check_close(train_detector<trainer_of<2>>({.devices = {0}}), expected, 1e-4); }
}
