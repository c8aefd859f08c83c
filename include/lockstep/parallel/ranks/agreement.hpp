// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lockstep/comm/error.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/optim/describe.hpp>
#include <lockstep/parallel/ranks/rank_link.hpp>
#include <lockstep/parallel/ranks/verify.hpp>

/// \file
/// What ranks tell each other before a step, and how one rank gives its state to the others.

namespace lockstep::detail {

/// Checks a batch and, where there are other ranks, agrees with them on the terms of the whole batch. `refused`, unless
/// null, is why the caller could not make a batch of its arguments: then this rank throws it, and the others throw too.
template <class Engine, class Batch>
[[nodiscard]] typename Engine::terms_type agree(Engine& engine, rank_call call, const Batch& own,
                                                const std::optional<typename Engine::losses_type>& given,
                                                std::exception_ptr refused = {}) {
  typename Engine::losses_type denominators{};
  std::exception_ptr cannot_step;  // which does not matter to a rank that has joined once all have
  try {
    if (refused) std::rethrow_exception(refused);
    engine.check_whole();
    engine.prepare();
    try {
      engine.begin_step();
    } catch (...) {
      if (call != rank_call::join) throw;
      cannot_step = std::current_exception();
    }
    if constexpr (Engine::has_ranks) engine.prepare_sums();  // here, since the others would wait for a rank that cannot
    denominators = engine.denominators_of(own);
    if constexpr (Engine::measures) engine.statistics.check_part(own.samples);
    if (call != rank_call::join) engine.states.expect(own.samples, call == rank_call::step);
    for (const double one : given.value_or(typename Engine::losses_type{}))
      if (given && (!(one > 0) || !std::isfinite(one)))
        throw value_error("data_parallel", "a finite denominator above zero", std::to_string(one));
  } catch (...) {
    if (!Engine::has_ranks) throw;
    refused = std::current_exception();
  }
  typename Engine::terms_type terms{.denominators = denominators, .samples = own.samples};
  // An empty batch uses no layer.
  auto uses = engine.skips.uses(call == rank_call::step && own.samples > 0);
  if constexpr (Engine::has_ranks) {
    terms = engine.ranks.agree({.call = call,
                                .denominators = denominators,
                                .samples = own.samples,
                                .given = given,
                                .refused = refused != nullptr,
                                .cannot_step = cannot_step != nullptr,
                                .failed_to_accumulate = engine.failed_to_accumulate},
                               uses);
    // Ranks whose sums hold different batches may not go on with them.
    if (terms.spoiler >= 0) engine.drop_passes();
    if (refused) std::rethrow_exception(refused);
    if (cannot_step && !terms.all_joined) std::rethrow_exception(cannot_step);
    if (terms.spoiler >= 0)
      throw communicator_error("data_parallel", "gradients that every rank has accumulated",
                               "rank " + std::to_string(terms.spoiler) + " failed to",
                               "all ranks have dropped what they had accumulated; accumulate it anew");
  }
  if constexpr (Engine::measures) engine.statistics.check_batch(terms.samples);
  engine.skips.settle(uses);
  if (given) terms.denominators = *given;
  return terms;
}

/// The state that is no tensor: of a schedule that has any, and which layers are skipped. Has `values` and `give_back`.
template <class Engine>
struct small_state {
  Engine& engine;

  [[nodiscard]] std::vector<std::uint64_t> values() const {
    std::vector<std::uint64_t> all;
    with_stateful_schedule(engine.optimizer, [&](const auto& schedule) {
      for (const double number : schedule.state()) all.push_back(std::bit_cast<std::uint64_t>(number));
    });
    for (const char digit : engine.skips.flag_text()) all.push_back(digit == '1' ? 1 : 0);
    return all;
  }
  void give_back(std::span<const std::uint64_t> all) const {
    std::size_t next = 0;
    with_stateful_schedule(engine.optimizer, [&](auto& schedule) {
      auto state = schedule.state();
      for (double& number : state) number = std::bit_cast<double>(all[next++]);
      schedule.set_state(state);
    });
    std::string digits;
    while (next < all.size()) digits += all[next++] != 0 ? '1' : '0';
    engine.skips.set_flags(digits);
  }
};

/// Copies the parameters, buffers, states of the optimizer and of its schedule, seed, step counters and skips of rank
/// `root` to every rank; the states that layers carry become zeros. When a rank cannot take them, or their optimizers
/// keep different numbers of states, throws on all ranks and changes nothing.
template <class Engine>
void broadcast_state(Engine& engine, int root) {
  auto& communicator = engine.ranks.communicator();
  std::exception_ptr refused;
  try {
    engine.prepare();
  } catch (...) {
    refused = std::current_exception();
  }
  const std::size_t states = engine.optimizer.states();
  std::array<double, 3> sums{refused ? 1.0 : 0.0, static_cast<double>(states), static_cast<double>(states * states)};
  communicator.all_reduce(std::span<double>(sums));
  if (refused) std::rethrow_exception(refused);
  // The numbers of states are equal when the square of their sum is the ranks' number times the sum of their squares.
  if (sums[0] > 0 || sums[1] * sums[1] != communicator.size() * sums[2])
    throw communicator_error("data_parallel::broadcast", "ranks with the same optimizer options", "others",
                             "give every rank the options of the root");

  const bool root_is_half_updated = engine.half_updated;
  engine.half_updated = true;  // until all has arrived
  const auto send = [&](auto& buffer) {
    communicator.broadcast(std::span(buffer.data(), static_cast<std::size_t>(buffer.size())), root);
  };
  send(engine.homes.front().parameters);
  for (std::size_t s = 0; s < states; ++s) send(engine.homes.front().update.state(s));
  std::vector<std::uint64_t> counters{engine.key.value, static_cast<std::uint64_t>(engine.steps),
                                      root_is_half_updated ? 1U : 0U};
  const auto state_steps = engine.skips.state_steps();
  counters.insert(counters.end(), state_steps.begin(), state_steps.end());
  const small_state<Engine> rest{engine};
  const std::vector<std::uint64_t> own_rest = rest.values();
  counters.insert(counters.end(), own_rest.begin(), own_rest.end());
  take_from_root(communicator, root, counters);
  engine.key = seed{counters[0]};
  engine.steps = static_cast<std::int64_t>(counters[1]);
  std::copy_n(counters.begin() + 3, state_steps.size(), state_steps.begin());
  rest.give_back(std::span<const std::uint64_t>(counters).subspan(3 + state_steps.size()));
  engine.drop_passes();
  engine.states.reset();  // those of the root are of its own samples
  engine.half_updated = counters[2] != 0;
}

}  // namespace lockstep::detail
