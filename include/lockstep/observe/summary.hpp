// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/model/plan_table.hpp>
#include <lockstep/parallel/timeline.hpp>

/// \file
/// Summarizes a recorded timeline, and the plan it followed, in numbers.

namespace lockstep {

/// An input of a model, as a node of its plan reads it.
struct plan_input {
  int value = -1;         ///< as in `plan_row::reads`
  std::string name{};     ///< empty where the model has one input
  std::string extents{};  ///< `3x32x32`
};

/// One node of a plan in words and numbers; flops and bytes are of one sample.
struct plan_row {
  std::string layer{};   ///< PyTorch's name of the layer; empty for a change of order
  std::string kind{};    ///< `conv2d+relu`
  std::string sample{};  ///< `3x32x32 -> 64x32x32`
  std::string output{};  ///< `64x32x32`
  std::int64_t parameters = 0;
  std::int64_t parameter_bytes = 0;
  std::int64_t output_bytes = 0;
  std::int64_t forward_flops = 0;
  std::int64_t backward_flops = 0;
  std::vector<int> reads{};          ///< the nodes whose values it reads; below zero an input
  std::vector<plan_input> inputs{};  ///< the inputs that it reads
  int segment = 0;                   ///< see plan_node
  bool measures = false;             ///< measures a value over the whole batch for another node

  [[nodiscard]] const std::string& name() const { return layer.empty() ? kind : layer; }
};

/// The nodes of a model's plan, in the order in which a timeline's `index` counts them.
template <class Model, class Backend>
[[nodiscard]] std::vector<plan_row> plan_rows() {
  constexpr const auto& plan = Model::template plan<Backend>;
  constexpr auto element = static_cast<std::int64_t>(sizeof(typename Backend::value_type));
  constexpr auto activation = static_cast<std::int64_t>(sizeof(typename Backend::activation_type));
  std::vector<plan_row> rows;
  for (int i = 0; i < plan.node_count; ++i) {
    const plan_node& node = plan.nodes[static_cast<std::size_t>(i)];
    auto [layer, kind] = detail::node_title<Model>(node);
    std::vector<int> reads;
    std::vector<plan_input> inputs;
    for (int k = 0; k < node.operands; ++k) {
      const int from = plan.operand(node, k).from;
      reads.push_back(from);
      if (from < 0)
        inputs.push_back({.value = from,
                          .name = std::string(Model::graph.inputs[detail::input_of(from)].name),
                          .extents = to_string(plan.extents_of(from))});
    }
    const int products = (node.learns() ? 1 : 0) + (node.input_gradient ? 1 : 0);
    rows.push_back({.layer = std::move(layer),
                    .kind = std::move(kind),
                    .sample = to_string(node.in) + " -> " + to_string(node.out),
                    .output = to_string(node.out),
                    .parameters = node.parameter_size,
                    .parameter_bytes = checked_multiply(node.parameter_size, element),
                    .output_bytes = checked_multiply(node.out.size(), activation),
                    .forward_flops = node.flops,
                    .backward_flops = checked_multiply(node.flops, products),
                    .reads = std::move(reads),
                    .inputs = std::move(inputs),
                    .segment = node.segment,
                    .measures = node.kind == node_kind::measure});
  }
  return rows;
}

/// How a replica spent the recorded time, as shares that add up to 1.
struct replica_time {
  double busy = 0;  ///< forward, loss, backward and the sum over micro-shards
  double communicate = 0;
  double update = 0;
  double wait = 0;  ///< for the other replicas or for the communication
  double idle = 0;  ///< time without events, between steps
};

/// All calls of one activity on one node or bucket, over all replicas.
struct phase_time {
  activity what = activity::forward;
  int index = -1;  ///< node or bucket; -1 when the activity has none
  std::int64_t calls = 0;
  double seconds = 0;  ///< of all calls

  [[nodiscard]] double mean() const { return calls > 0 ? seconds / static_cast<double>(calls) : 0.0; }
};

struct timeline_summary {
  double seconds = 0;  ///< from the first event to the last, or to where a full track stops recording
  std::int64_t steps = 0;
  std::int64_t dropped = 0;  ///< events that did not fit
  std::vector<replica_time> replicas{};
  std::vector<phase_time> phases{};  ///< in the order of the activities, then of the indices
  double communication = 0;          ///< seconds in which at least one bucket was communicated
  double overlap = 0;                ///< share of `communication` hidden by computing, averaged over replicas
  double imbalance = 0;              ///< (longest - shortest) / longest busy time of a replica
};

[[nodiscard]] constexpr std::string_view to_string(activity what) {
  switch (what) {
    case activity::forward:
      return "forward";
    case activity::loss:
      return "loss";
    case activity::backward:
      return "backward";
    case activity::fold:
      return "fold";
    case activity::wait:
      return "wait";
    case activity::communicate:
      return "communicate";
    case activity::update:
      return "update";
  }
  return "unknown";
}

/// True for a replica's own computing: forward, loss, backward and the sum over micro-shards.
[[nodiscard]] constexpr bool is_busy(activity what) {
  return what == activity::forward || what == activity::loss || what == activity::backward || what == activity::fold;
}

/// Number of tracks that belong to replicas: all, except a last one (of several) that holds only communication.
[[nodiscard]] inline int replica_tracks(const timeline& recorded) {
  const int tracks = recorded.tracks();
  const auto last = recorded.events(tracks - 1);
  const bool communicates = tracks > 1 && !last.empty() && std::all_of(last.begin(), last.end(), [](const auto& event) {
                              return event.what == activity::communicate;
                            });
  return communicates ? tracks - 1 : tracks;
}

namespace detail {

/// Returns `replicas`, or the number found when it is 0. Throws value_error when the timeline has fewer tracks.
[[nodiscard]] inline int checked_replicas(std::string_view where, const timeline& recorded, int replicas) {
  if (replicas < 0 || replicas > recorded.tracks())
    throw value_error(where,
                      "at most as many replicas as the timeline has tracks, " + std::to_string(recorded.tracks()),
                      std::to_string(replicas), "give 0 to have them counted");
  return replicas == 0 ? replica_tracks(recorded) : replicas;
}

struct time_range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// The time from the first event to the last, cut where a full track ends: nothing is known of its replica after that.
[[nodiscard]] inline time_range recorded_range(const timeline& recorded) {
  time_range all;
  bool any = false;
  for (int t = 0; t < recorded.tracks(); ++t)
    for (const timeline_event& event : recorded.events(t)) {
      all.begin = any ? (std::min)(all.begin, event.begin) : event.begin;
      all.end = any ? (std::max)(all.end, event.end) : event.end;
      any = true;
    }
  for (int t = 0; t < recorded.tracks(); ++t) {
    if (recorded.dropped(t) == 0 || recorded.events(t).empty()) continue;
    std::int64_t stop = all.begin;
    for (const timeline_event& event : recorded.events(t)) stop = (std::max)(stop, event.end);
    all.end = (std::min)(all.end, stop);
  }
  return all;
}

/// Appends the parts of `range` covered by events for which `counts(event)` holds, in the order of the events.
template <class Counts>
void append_covered(std::vector<time_range>& covered, std::span<const timeline_event> events, const time_range& range,
                    const Counts& counts) {
  for (const timeline_event& event : events) {
    const time_range part{(std::max)(event.begin, range.begin), (std::min)(event.end, range.end)};
    if (counts(event) && part.begin < part.end) covered.push_back(part);
  }
}

inline void unite(std::vector<time_range>& ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::size_t used = 0;
  for (const time_range& one : ranges) {
    if (used > 0 && one.begin <= ranges[used - 1].end)
      ranges[used - 1].end = (std::max)(ranges[used - 1].end, one.end);
    else
      ranges[used++] = one;
  }
  ranges.resize(used);
}

[[nodiscard]] inline std::int64_t length(const std::vector<time_range>& ranges) {
  std::int64_t total = 0;
  for (const time_range& one : ranges) total += one.end - one.begin;
  return total;
}

/// Length of the overlap of two lists, each already united.
[[nodiscard]] inline std::int64_t common_length(const std::vector<time_range>& a, const std::vector<time_range>& b) {
  std::int64_t total = 0;
  for (std::size_t i = 0, k = 0; i < a.size() && k < b.size();) {
    total += std::max<std::int64_t>(0, (std::min)(a[i].end, b[k].end) - (std::max)(a[i].begin, b[k].begin));
    ++(a[i].end < b[k].end ? i : k);
  }
  return total;
}

[[nodiscard]] inline std::vector<phase_time> phase_times(const timeline& recorded) {
  constexpr std::size_t activities = static_cast<std::size_t>(activity::update) + 1;
  std::array<std::vector<phase_time>, activities> table;
  for (int t = 0; t < recorded.tracks(); ++t)
    for (const timeline_event& event : recorded.events(t)) {
      auto& row = table.at(static_cast<std::size_t>(event.what));
      const auto at = static_cast<std::size_t>(std::max<int>(event.index, -1) + 1);
      if (row.size() <= at) row.resize(at + 1);
      ++row[at].calls;
      row[at].seconds += 1e-9 * static_cast<double>(event.end - event.begin);
    }
  std::vector<phase_time> phases;
  for (std::size_t what = 0; what < activities; ++what)
    for (std::size_t at = 0; at < table[what].size(); ++at) {
      if (table[what][at].calls == 0) continue;
      phases.push_back(table[what][at]);
      phases.back().what = static_cast<activity>(what);
      phases.back().index = static_cast<int>(at) - 1;
    }
  return phases;
}

}  // namespace detail

/// Summarizes a timeline of `replicas` replicas; with 0, replica_tracks() finds their number. Events of one track must
/// not overlap. Throws value_error when there are fewer tracks than replicas.
[[nodiscard]] inline timeline_summary summarize(const timeline& recorded, int replicas = 0) {
  replicas = detail::checked_replicas("summarize", recorded, replicas);
  const detail::time_range range = detail::recorded_range(recorded);
  const auto span = static_cast<double>(range.end - range.begin);
  timeline_summary result{.seconds = 1e-9 * span, .phases = detail::phase_times(recorded)};

  std::vector<detail::time_range> communicated;
  for (int t = 0; t < recorded.tracks(); ++t) {
    result.dropped += recorded.dropped(t);
    detail::append_covered(communicated, recorded.events(t), range,
                           [](const auto& event) { return event.what == activity::communicate; });
  }
  detail::unite(communicated);
  result.communication = 1e-9 * static_cast<double>(detail::length(communicated));

  double shortest = 0;
  double longest = 0;
  std::int64_t hidden = 0;
  for (int r = 0; r < replicas; ++r) {
    const auto events = recorded.events(r);
    const auto spent = [&](const auto& counts) {
      std::vector<detail::time_range> covered;
      detail::append_covered(covered, events, range, counts);
      return covered;
    };
    const auto share = [&](activity what) {
      const auto covered = spent([&](const auto& event) { return event.what == what; });
      return span > 0 ? static_cast<double>(detail::length(covered)) / span : 0.0;
    };
    auto busy = spent([](const auto& event) { return is_busy(event.what); });
    detail::unite(busy);
    hidden += detail::common_length(communicated, busy);
    replica_time& time = result.replicas.emplace_back();
    time.busy = span > 0 ? static_cast<double>(detail::length(busy)) / span : 0.0;
    time.communicate = share(activity::communicate);
    time.update = share(activity::update);
    time.wait = share(activity::wait);
    time.idle = span > 0 ? (std::max)(0.0, 1 - time.busy - time.communicate - time.update - time.wait) : 0.0;
    longest = r == 0 ? time.busy : (std::max)(longest, time.busy);
    shortest = r == 0 ? time.busy : (std::min)(shortest, time.busy);
    std::int64_t steps = 0;
    for (std::size_t i = 0; i < events.size(); ++i) steps += i == 0 || events[i].step != events[i - 1].step ? 1 : 0;
    result.steps = (std::max)(result.steps, steps);
  }
  const std::int64_t communication = detail::length(communicated) * replicas;
  result.overlap = communication > 0 ? static_cast<double>(hidden) / static_cast<double>(communication) : 0.0;
  result.imbalance = longest > 0 ? (longest - shortest) / longest : 0.0;
  return result;
}

}  // namespace lockstep
