// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
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

// Models with several inputs: their samples travel in one packet or, where they are large, each input by itself.

namespace {

using namespace lockstep_test;

using image = ls::from<"image", ls::sequential<ls::conv2d<4, 3, ls::padding<1>>, ls::relu, ls::flatten>>;
using words = ls::sequential<ls::from<"words">, ls::linear<6>, ls::relu>;
using net = ls::sequential<ls::concat<image, words>, ls::linear<8>, ls::relu,
                           ls::concat<ls::identity, ls::from<"words">>, ls::linear<5>>;
using reader = ls::model<net, ls::inputs<ls::named<"image", ls::input<2, 12, 12>>, ls::named<"words", ls::input<7>>>,
                         ls::cross_entropy>;

/// Sizes that come again, so that work is replayed; 300 pictures are more than a packet takes.
template <class Trainer>
losses_and_values train_reader(const ls::trainer_options& options = {}) {
  Trainer trainer({.learning_rate = 0.05F, .momentum = 0.9F}, {}, options);
  trainer.initialize(ls::seed{5});
  losses_and_values result;
  std::uint64_t stream = 1000;
  const auto each_batch = [&](std::int64_t samples, const auto& f) {
    const floats pictures = draws(stream++, samples * 288);
    const floats numbers = draws(stream++, samples * 7);
    const auto classes = class_draws(stream++, samples, 5);
    f(std::tie(pictures, numbers), classes);
  };
  for (const std::int64_t samples : {12, 7, 12, 2, 300, 12, 12, 300})
    each_batch(samples, [&](const auto& x, const auto& classes) { result.losses.push_back(trainer.step(x, classes)); });
  each_batch(33, [&](const auto& x, const auto& classes) {
    result.losses.push_back(trainer.accumulate(x, classes));
    result.losses.push_back(trainer.evaluate(x, classes).loss());
    const auto y = trainer.forward(x);
    result.values.emplace_back(y.begin(), y.end());
    const ls::predictor<reader, 1, typename Trainer::backend_type> server(trainer, {.max_batch = 8});
    const auto served = server.predict(x);
    result.values.emplace_back(served.begin(), served.end());
  });
  for (const floats& parameter : all_values(trainer.parameters())) result.values.push_back(parameter);
  return result;
}

template <int N, class B = ls::cuda>
using trainer_of = ls::data_parallel<reader, N, B>;

}  // namespace

TEST_CASE("models with several inputs train on devices as on the host", "[trainer][inputs]") {
  LOCKSTEP_NEEDS_DEVICE();
  const losses_and_values expected = train_reader<trainer_of<1, ls::reference<float>>>();
  SECTION("one replica") { check_close(train_reader<trainer_of<1>>(), expected, 1e-4); }
  SECTION("two on one device") { check_close(train_reader<trainer_of<2>>({.devices = {0}}), expected, 1e-4); }
}
