// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "parallel/reproducible.hpp"
#include "parallel/trained.hpp"

/// \file
/// A network that normalises batches in many places, and what a few steps of it leave behind.

namespace lockstep_test::normalised {

namespace ls = lockstep;

template <int Channels>
using conv3 = ls::conv2d<Channels, 3, ls::padding<1>>;

// 16, 8 and 5 channels: wide vectors, narrow ones, and none. One shortcut is read across two segments.
using net = ls::sequential<conv3<16>, ls::batch_norm2d<>, ls::relu,
                           ls::residual<ls::sequential<conv3<8>, ls::batch_norm2d<ls::momentum<0.3>>, ls::relu,
                                                       conv3<5>, ls::batch_norm2d<ls::cumulative>>,
                                        ls::sequential<ls::conv2d<5, 1>, ls::batch_norm2d<ls::no_affine>>>,
                           ls::relu, ls::max_pool2d<2>, ls::dropout<0.3>, ls::flatten, ls::linear<6>,
                           ls::batch_norm1d<ls::epsilon<1e-3>>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<2, 6, 6>, ls::cross_entropy>;

/// Cuts every shard into micro-shards of four samples.
struct small_passes : ls::reference<float> {
  static constexpr std::int64_t largest_pass = 4;
};
struct small_cpu_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 4;
};
static_assert(ls::micro_shard<classifier, small_cpu_passes> <= 4);

// Shards of other sizes, and, with more than five replicas, without a sample.
inline constexpr std::int64_t batches[] = {61, 5, 61, 5};

/// Steps on the batches of the given sizes: own(samples) is what this trainer takes of a batch, from its first sample
/// to one past its last.
template <class Trainer, class Sizes, class Own>
trained train_on(Trainer& trainer, const Sizes& sizes, const Own& own) {
  using value = typename Trainer::value_type;
  start_alike(trainer);
  trained result;
  std::uint64_t stream = 10;
  for (const std::int64_t samples : sizes) {
    constexpr std::int64_t size = classifier::input_dims.size();
    const auto x = draws<float>(stream++, samples * size);
    const auto targets = class_draws(stream++, samples, 3);
    const auto [first, last] = own(samples);
    const std::vector<value> own_x(x.begin() + first * size, x.begin() + last * size);
    const std::vector<std::int64_t> own_targets(targets.begin() + first, targets.begin() + last);
    result.losses.push_back(trainer.step(batch<classifier>(own_x), own_targets));
  }
  result.gradients = as_doubles(trainer.gradients());
  result.parameters = as_doubles(trainer.parameters());
  result.buffers = as_doubles(trainer.buffers());
  return result;
}

/// The same on whole batches.
template <class Trainer>
trained train(Trainer& trainer) {
  return train_on(trainer, batches,
                  [](std::int64_t samples) { return std::pair<std::int64_t, std::int64_t>(0, samples); });
}

// So small that no maximum and no relu chooses another element in float than in double.
inline constexpr ls::sgd optimizer{.learning_rate = 1e-3F, .momentum = 0.9F};

inline void check_equal(const trained& given, const trained& expected) {
  // The gradient of a bias before a normalisation is a sum of large numbers that is 0.
  lockstep_test::check_equal(given, expected, 1e-5, gradients_compared::by_largest);
}

}  // namespace lockstep_test::normalised
