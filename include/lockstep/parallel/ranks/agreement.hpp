// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/parallel/ranks/rank_link.hpp>
#include <lockstep/parallel/ranks/verify.hpp>

/// \file
/// What ranks tell each other before a step, and how one rank gives its state to the others.

namespace lockstep::detail {

/// Checks a batch and, where there are other ranks, agrees with them on the terms of the whole batch. `refused`, unless
/// null, is why the caller could not make a batch of its arguments: then this rank throws it, and the others throw too.
template <class Engine, class Batch>
[[nodiscard]] batch_terms agree(Engine& engine, rank_call call, const Batch& own, std::optional<double> given,
                                std::exception_ptr refused = {}) {
  double denominator = 0;
  try {
    if (refused) std::rethrow_exception(refused);
    engine.check_whole();
    engine.prepare();
    denominator = engine.denominator_of(own);
    if (given && !(*given > 0)) throw value_error("data_parallel", "a denominator above zero", std::to_string(*given));
  } catch (...) {
    if (!Engine::has_ranks) throw;
    refused = std::current_exception();
  }
  batch_terms terms{.denominator = denominator, .samples = own.samples};
  // An empty batch uses no layer.
  auto uses = engine.skips.uses(call == rank_call::step && own.samples > 0);
  if constexpr (Engine::has_ranks) {
    terms = engine.ranks.agree(call, denominator, own.samples, refused != nullptr, uses);
    if (refused) std::rethrow_exception(refused);
  }
  engine.skips.settle(uses);
  if (given) terms.denominator = *given;
  return terms;
}

/// Gives every rank the parameters, optimizer state, seed and step counters of rank `root`.
template <class Engine>
void broadcast_state(Engine& engine, int root) {
  auto& communicator = engine.ranks.communicator();
  const auto send = [&](auto& buffer) {
    communicator.broadcast(std::span(buffer.data(), static_cast<std::size_t>(buffer.size())), root);
  };
  send(engine.homes.front().parameters);
  std::vector<std::uint64_t> counters{engine.key.value, static_cast<std::uint64_t>(engine.steps),
                                      engine.half_updated ? 1U : 0U};
  const auto state_steps = engine.skips.state_steps();
  counters.insert(counters.end(), state_steps.begin(), state_steps.end());
  take_from_root(communicator, root, counters);
  engine.key = seed{counters[0]};
  engine.steps = static_cast<std::int64_t>(counters[1]);
  engine.half_updated = counters[2] != 0;
  std::copy(counters.begin() + 3, counters.end(), state_steps.begin());
  engine.prepare();
  engine.homes.front().update.each_state(send);
  engine.drop_pending();
}

}  // namespace lockstep::detail
