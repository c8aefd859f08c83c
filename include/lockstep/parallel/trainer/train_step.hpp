// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include <lockstep/optim/matrix_rule.hpp>
#include <lockstep/parallel/ranks/rank_link.hpp>
#include <lockstep/parallel/trainer/find_non_finite.hpp>
#include <lockstep/parallel/trainer_options.hpp>

/// \file
/// The two purposes of an engine's pass over a batch: a step of the optimizer, or gradients that a later step adds to
/// its own.

namespace lockstep::detail {

/// Runs forward, loss and backward of this rank's part of a batch, and updates with all gradients since the last
/// update. Returns the loss.
template <class Engine, class Batch>
double train_step(Engine& e, const Batch& own, const typename Engine::terms_type& terms) {
  const bool finite_only = e.options.non_finite != non_finite::ignore;
  const bool measured = finite_only || e.options.max_norm < std::numeric_limits<double>::infinity();
  const bool clipped = e.options.max_value < std::numeric_limits<double>::infinity();
  const bool accumulated = e.pending;
  const bool sum_first = Engine::has_ranks || measured || clipped || accumulated;
  if constexpr (Engine::has_ranks)
    if (e.options.verify_every > 0 && (e.steps + 1) % e.options.verify_every == 0) e.verify();
  if (sum_first) e.prepare_sums();
  const auto finish = [&](auto&& part) {
    const std::size_t r = part.r;
    if (!e.homes.combine(r, e.replicas, [&](const auto& f) { return part.meet(f); })) return;
    auto& c = e.replicas[r]->context();
    auto& [front, parameters, update] = e.homes.of(r);
    const std::size_t slice = e.homes.slice(r);
    const auto reduce = [&] {
      if constexpr (!Engine::has_ranks) e.reduce_home(r, true);
    };
    // A matrix's update reads the sums of other slices too.
    const bool together = measured || (sum_first && updates_matrices<typename Engine::optimizer_type>);
    const auto sum = [&] {
      reduce();
      if (measured) update.measure(slice, c);
    };
    if (together && !part.meet(sum)) return;
    part.change([&] {
      if (!sum_first)
        return e.homes.with_sources(
            r, c, e.replicas[r]->gradients.data(), e.gradient_buffers(), [&](const auto& gradients) {
              update.fused(slice, c, gradients, parameters.data(), e.optimizer, e.skips.active());
            });
      if (measured)
        update.judge(slice, c, e.options.max_norm);
      else if (!together)
        reduce();
      update.apply(slice, c, parameters.data(), e.optimizer, e.skips.active(),
                   {.measured = measured, .finite_only = finite_only, .max_value = e.options.max_value});
    });
  };
  const auto variant = static_cast<std::uint64_t>(sum_first) | static_cast<std::uint64_t>(accumulated) << 1U;
  const double loss = e.template train<true>(own, terms, finish, sum_first, 1 | variant << 1U);
  e.stage(own.samples);
  e.drop_pending();
  e.summed = sum_first;
  if (measured) e.norm = e.homes.front().update.terms(0).norm;
  if (finite_only && e.homes.front().update.terms(0).finite == 0)
    e.drop_passes(), report_non_finite(e, accumulated);
  else
    e.count_step();
  return loss;
}

/// Runs forward, loss and backward of this rank's part of a batch, whose gradients the next step adds to its own.
/// Returns the loss.
template <class Engine, class Batch>
double accumulate_step(Engine& e, const Batch& own, const typename Engine::terms_type& terms) {
  e.prepare_sums();
  const auto finish = [&](auto&& part) {
    if (e.homes.combine(part.r, e.replicas, [&](const auto& f) { return part.meet(f); }))
      part.change([&] { e.reduce_home(part.r, false); });
  };
  double loss = 0;
  try {
    loss = e.template train<false>(own, terms, finish, true, static_cast<std::uint64_t>(e.pending) << 1U);
  } catch (...) {
    e.failed_to_accumulate = Engine::has_ranks;
    throw;
  }
  e.stage(own.samples);
  e.pending = true;
  e.pending_samples += terms.samples;
  if (own.samples > 0) e.skips.keep();
  e.summed = true;
  return loss;
}

}  // namespace lockstep::detail
