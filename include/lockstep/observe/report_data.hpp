// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/op_memory.hpp>
#include <lockstep/model/plan_table.hpp>
#include <lockstep/observe/divergence.hpp>
#include <lockstep/observe/run_origin.hpp>
#include <lockstep/observe/summary.hpp>
#include <lockstep/observe/svg_text.hpp>
#include <lockstep/parallel/timeline.hpp>

namespace lockstep {

struct memory_item {
  std::string name{};
  std::int64_t bytes = 0;
};

/// A loss measured after a step.
struct measured_loss {
  std::int64_t step = 0;
  double loss = 0;
};

/// All that a report shows. The report leaves out members that are empty or zero.
struct report_data {
  std::string title = "lockstep training run";
  std::string model{};                                        ///< the network as text
  std::vector<std::pair<std::string, std::string>> facts{};   ///< more about the run: optimizer, data, seed
  std::vector<std::pair<std::string, std::string>> origin{};  ///< date, machine, compiler, version; see run_origin
  int replicas = 1;
  std::int64_t batch = 0;
  std::int64_t parameters = 0;
  double seconds = 0;                        ///< training, without evaluations
  double samples_per_s = 0;                  ///< over all steps
  std::int64_t first_step = 1;               ///< number of the step of losses[0]
  std::vector<double> losses{};              ///< of every step
  std::vector<measured_loss> test_losses{};  ///< on data outside the training set, in order of the steps
  std::vector<double> accuracies{};          ///< of every epoch, in [0, 1]; NaN when unknown
  std::optional<divergence> diverged{};      ///< why, when the caller knows; else found from the losses
  double loader_wait = 0;                    ///< share of the training time that steps waited for their batches

  timeline_summary times{};
  std::int64_t recorded_samples = 0;  ///< samples of the timeline's steps; 0: unknown, hides the speed of nodes
  std::vector<plan_row> plan{};
  std::vector<memory_item> memory{};
};

/// What a report needs to know of a run to count bytes.
struct report_run {
  int replicas = 1;
  std::int64_t batch = 1;
  std::int64_t optimizer_states = 0;  ///< buffers as long as the gradients: 1 for momentum, 2 for Adam
  std::int64_t data_bytes = 0;        ///< of the data set and the loader's batches
};

/// Bytes by category. The replicas share one copy of the parameters; each has its own gradients and arena.
template <class Model, class Backend>
[[nodiscard]] std::vector<memory_item> memory_items(const report_run& run) {
  constexpr const auto& plan = Model::template plan<Backend>;
  constexpr auto element = static_cast<std::int64_t>(sizeof(typename Backend::value_type));
  constexpr auto activation = static_cast<std::int64_t>(sizeof(typename Backend::activation_type));
  const std::int64_t gradients = checked_multiply(plan.trainable_count, element);
  std::int64_t samples = 0;  // in flight at once, over all replicas
  std::int64_t in_ops = 0;
  for (int r = 0; r < run.replicas; ++r) {
    const std::int64_t own = (std::min)(micro_shard<Model, Backend>, shard_of(run.batch, run.replicas, r).count);
    samples += own;
    in_ops += detail::op_bytes<Model, Backend>(own);
  }
  std::vector<memory_item> items{
      {"parameters", checked_multiply(plan.parameter_count, element)},
      {"gradients", checked_multiply(gradients, run.replicas)},
      {"optimizer state", checked_multiply(gradients, run.optimizer_states)},
      {"activations", checked_add(checked_multiply(checked_multiply(plan.arena_size, activation), samples),
                                  checked_multiply(checked_multiply(plan.kept_size, activation), run.batch))},
      {"data", run.data_bytes}};
  if (in_ops > 0) items.insert(items.begin() + 1, {"derived weights", in_ops});
  if (converts_values<Backend>)
    items.insert(items.begin() + 1, {"converted parameters",
                                     checked_multiply(checked_multiply(plan.value_count, activation), run.replicas)});
  if (plan.value_count != plan.parameter_count)
    items.insert(items.begin() + 1, {"buffers", checked_multiply(plan.value_count - plan.parameter_count, element)});
  return items;
}

/// Returns the parts of a report that come from the plan and from a timeline: replicas, batch, parameters, plan,
/// memory, times, origin.
/// The caller adds the run's own numbers: losses, test losses, accuracies, speed, loader_wait.
/// Throws value_error for less than one replica or sample, or when the timeline has fewer tracks than replicas.
template <class Model, class Backend>
[[nodiscard]] report_data make_report_data(const timeline& recorded, const report_run& run) {
  if (run.replicas < 1 || run.batch < 1)
    throw value_error("make_report_data", "one replica or more and a batch of one sample or more",
                      std::to_string(run.replicas) + " replicas, batch " + std::to_string(run.batch));
  report_data data;
  data.origin = run_origin();
  data.replicas = run.replicas;
  data.batch = run.batch;
  data.parameters = Model::template plan<Backend>.parameter_count;
  data.plan = plan_rows<Model, Backend>();
  data.memory = memory_items<Model, Backend>(run);
  data.times = summarize(recorded, run.replicas);
  return data;
}

enum class advice_about : std::uint8_t {
  small_batch,    ///< replicas wait and update for much of a step
  imbalance,      ///< replicas compute for different times
  loader,         ///< steps wait for their batch
  communication,  ///< buckets are communicated while no replica computes
};

/// A finding, and what may help.
struct advice {
  advice_about about = advice_about::small_batch;
  std::string headline{};
  std::string finding{};
  std::string remedy{};
};

/// Shares above which advice is given.
struct advice_limits {
  double wait_and_update = 0.25;  ///< of the time in steps, averaged over the replicas
  double imbalance = 0.10;        ///< timeline_summary::imbalance
  double loader = 0.10;           ///< report_data::loader_wait
  double communication = 0.10;    ///< share of the recorded time with communication that no computing hides
};

namespace detail {

/// Share of the time in steps that replicas spent waiting and updating, averaged over the replicas.
[[nodiscard]] inline double wait_and_update_share(const timeline_summary& times) {
  double sum = 0;
  for (const replica_time& r : times.replicas) {
    const double in_steps = r.busy + r.communicate + r.update + r.wait;
    sum += in_steps > 0 ? (r.wait + r.update) / in_steps : 0.0;
  }
  return times.replicas.empty() ? 0.0 : sum / static_cast<double>(times.replicas.size());
}

/// Share of the recorded time with communication that no computing hid.
[[nodiscard]] inline double exposed_communication(const timeline_summary& times) {
  return times.seconds > 0 ? times.communication * (1 - times.overlap) / times.seconds : 0.0;
}

[[nodiscard]] inline std::string small_batch_remedy(const report_data& data) {
  if (data.replicas < 2) return "Try a larger batch: one update then pays for more samples.";
  return "Try a larger batch, or fewer replicas: each of the " + std::to_string(data.replicas) +
         " replicas then computes longer between two meetings" +
         (data.batch > 0 ? " (now " + general(static_cast<double>(data.batch) / data.replicas, 3) + " samples a step)."
                         : std::string("."));
}

[[nodiscard]] inline std::string imbalance_remedy(const report_data& data) {
  std::string text;
  if (data.batch > 0 && data.replicas > 1 && data.batch % data.replicas != 0)
    text = "The shards of a batch differ (" + shards_text(data.replicas, data.batch) + "): try a batch that " +
           std::to_string(data.replicas) + " divides. ";
  return text +
         "Try fewer replicas than processor cores and no other program beside the run, and look in the trace at what "
         "the slow replica does longer.";
}

}  // namespace detail

/// Returns advice drawn from the numbers of a run; empty when nothing stands out.
[[nodiscard]] inline std::vector<advice> advise(const report_data& data, const advice_limits& limits = {}) {
  using detail::percent_text;
  std::vector<advice> all;
  if (const double share = detail::wait_and_update_share(data.times); share > limits.wait_and_update)
    all.push_back({.about = advice_about::small_batch,
                   .headline = data.replicas > 1 ? "The batch is small for these replicas" : "The batch is small",
                   .finding = "Waiting and updating take " + percent_text(share) + " of the time in steps.",
                   .remedy = detail::small_batch_remedy(data)});
  if (data.times.replicas.size() > 1 && data.times.imbalance > limits.imbalance)
    all.push_back({.about = advice_about::imbalance,
                   .headline = "The replicas are out of balance",
                   .finding = "The quickest replica computes " + percent_text(data.times.imbalance) +
                              " less time than the slowest, and then waits for it.",
                   .remedy = detail::imbalance_remedy(data)});
  if (data.loader_wait > limits.loader)
    all.push_back(
        {.about = advice_about::loader,
         .headline = "The loader is the bottleneck",
         .finding = "Steps wait for their batch for " + percent_text(data.loader_wait) + " of the training time.",
         .remedy = "Try to leave the loader a processor core, to prepare more batches ahead (prefetch), and "
                   "to keep the data set in memory or on a faster disk."});
  if (const double share = detail::exposed_communication(data.times); share > limits.communication)
    all.push_back({.about = advice_about::communication,
                   .headline = "Communication is not hidden",
                   .finding = "Buckets are communicated with nothing computed beside them for " + percent_text(share) +
                              " of the time; " + percent_text(data.times.overlap) + " of the communication is hidden.",
                   .remedy = "Try smaller buckets, so that the first leaves earlier in the backward pass, a larger "
                             "batch, or a hook that sends fewer bytes."});
  return all;
}

}  // namespace lockstep
