// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "io/io_support.hpp"

/// \file
/// A small run: a network with dropout and a layer that can be skipped, over shuffled samples, for several epochs.

namespace lockstep_test {

namespace small_run {

namespace ls = lockstep;

using net = ls::sequential<ls::linear<9>, ls::relu, ls::dropout<0.2>, ls::named<"b", ls::skippable<ls::linear<9>>>,
                           ls::frozen<ls::linear<6>>, ls::linear<4>>;
using model = ls::model<net, ls::input<5>, ls::cross_entropy>;
using samples = ls::data::dataset<ls::shape<5>>;
using loader = ls::data::loader<ls::shape<5>>;

template <class Optimizer, int N = 1>
using trainer_of = ls::data_parallel<model, N, Optimizer, ls::reduce::reproducible, ls::micro_shards<4>>;

inline samples make_samples(std::uint64_t stream = 1) {
  constexpr std::int64_t count = 22;
  const ls::random_stream draws(ls::seed{17}, ls::random_purpose::synthetic_data, stream);
  std::vector<std::uint8_t> pixels;
  std::vector<std::int64_t> labels;
  for (std::uint64_t i = 0; i < count * 5; ++i) pixels.push_back(static_cast<std::uint8_t>(draws.below(256, i)));
  for (std::uint64_t i = 0; i < count; ++i) labels.push_back(draws.below(4, i + 1000));
  return {std::move(pixels), std::move(labels), 4};
}

inline const samples data = make_samples();
inline const ls::data::loader_options how{.batch = 4, .shuffle = true, .seed = {3}};  // six batches an epoch

/// Trains until there are `steps`, from wherever the two stand, and calls after(steps) after each.
template <class Trainer, class After>
void go_on(Trainer& trainer, loader& batches, std::int64_t steps, const After& after) {
  while (trainer.steps() < steps) {
    for (const auto& [x, labels] : batches) {
      static_cast<void>(trainer.step(x, labels));
      after(trainer.steps());
      if (trainer.steps() == steps) return;
    }
  }
}
template <class Trainer>
void go_on(Trainer& trainer, loader& batches, std::int64_t steps) {
  go_on(trainer, batches, steps, [](std::int64_t) {});
}

/// Everything that a trainer and a loader hold, as the bytes of a file.
template <class Trainer>
std::string all_of(Trainer& trainer, loader& batches) {
  const temporary_folder folder;
  ls::save_checkpoint(trainer, batches, folder / "all");
  return slurp(folder / "all");
}

}  // namespace small_run

}  // namespace lockstep_test
