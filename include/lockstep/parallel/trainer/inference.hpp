// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/model/output_pack.hpp>
#include <lockstep/parallel/evaluation.hpp>

/// \file
/// What a trainer's replicas do without training.

namespace lockstep::detail {

/// Calls f(r, leaf, its samples) for the leaves of each replica r, on that replica's thread. Throws value_error when
/// the parameters are half updated, replica_error for what a replica throws.
template <class Engine, class F>
void each_leaf(Engine& engine, std::int64_t samples, const F& f) {
  engine.check_whole();
  engine.on_all([&](std::size_t r) {
    const int first = static_cast<int>(r) * Engine::leaves_per_replica;
    for (int leaf = first; leaf < first + Engine::leaves_per_replica; ++leaf)
      f(r, static_cast<std::size_t>(leaf), shard_of(samples, Engine::leaves, leaf));
  });
}

/// Writes the outputs of a batch to `out`, in the order of the samples.
template <class Engine>
void forward_all(Engine& engine,
                 const input_pack<typename Engine::model_type, const typename Engine::value_type>& images,
                 std::int64_t samples,
                 const output_pack<typename Engine::model_type, typename Engine::value_type>& out) {
  each_leaf(engine, samples, [&](std::size_t r, std::size_t, const shard_range& part) {
    engine.replicas[r]->forward(engine.homes.of(r).parameters.data(), images, part, out);
  });
}

/// Loss and hits of a batch.
template <class Engine, class Batch>
[[nodiscard]] auto evaluate_all(Engine& engine, const Batch& own) {
  using result = evaluation_of<typename Engine::model_type>;
  const auto denominators = engine.denominators_of(own);
  std::array<result, Engine::leaf_count> parts{};
  each_leaf(engine, own.samples, [&](std::size_t r, std::size_t leaf, const shard_range& part) {
    parts[leaf] = engine.replicas[r]->evaluate(engine.homes.of(r).parameters.data(), engine.loss, own.images,
                                               own.targets.data(), part);
  });
  result all = tree_sum(parts);
  if constexpr (std::is_same_v<result, evaluation>) {
    all.denominator = denominators[0];
  } else {
    for (std::size_t k = 0; k < denominators.size(); ++k) all.parts[k].denominator = denominators[k];
    all.weights = engine.loss.weights();
  }
  return all;
}

}  // namespace lockstep::detail
