// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/io/file.hpp>
#include <lockstep/observe/divergence.hpp>
#include <lockstep/observe/plan_svg.hpp>
#include <lockstep/observe/report_data.hpp>
#include <lockstep/observe/summary.hpp>
#include <lockstep/observe/svg.hpp>
#include <lockstep/observe/svg_style.hpp>
#include <lockstep/observe/svg_text.hpp>

namespace lockstep {

namespace detail {

inline constexpr std::size_t report_points = 2000;  ///< most points of a curve
inline constexpr std::size_t report_slowest = 12;   ///< most rows of the table of slow nodes

/// Appends a table whose first `left` columns are flush left and the others flush right. Each cell carries its column's
/// name, which a narrow page shows above it.
inline void append_table(std::string& out, std::size_t left, std::span<const std::string_view> head,
                         const std::vector<std::vector<std::string>>& rows) {
  const auto start = [&](std::string_view tag, std::size_t column) {
    add(out, {"<", tag, column < left ? " class=\"left\"" : ""});
  };
  out.append("<div class=\"wide\"><table>\n<thead><tr>");
  for (std::size_t c = 0; c < head.size(); ++c) {
    start("th", c);
    add(out, {">", head[c], "</th>"});
  }
  out.append("</tr></thead>\n<tbody>\n");
  for (const auto& row : rows) {
    out.append("<tr>");
    for (std::size_t c = 0; c < row.size(); ++c) {
      start("td", c);
      add(out, {" data-name=\"", head[c], "\">", escaped(row[c]), "</td>"});
    }
    out.append("</tr>\n");
  }
  out.append("</tbody></table></div>\n");
}

/// A loss as text: `not finite` for NaN and the infinities.
[[nodiscard]] inline std::string loss_text(double loss) {
  return std::isfinite(loss) ? general(loss) : std::string("not finite");
}

/// Why the loss is not finite, or grew; nothing when neither happened.
[[nodiscard]] inline std::optional<divergence> divergence_of(const report_data& data) {
  const divergence_facts facts{.losses = data.losses, .first_step = data.first_step};
  std::optional<divergence> found = data.diverged;
  if (!found) found = find_divergence(facts);
  if (!found) found = find_growth(facts);
  return found;
}

inline void append_divergence(std::string& out, const report_data& data) {
  const std::optional<divergence> found = divergence_of(data);
  if (!found) return;
  add(out, {"<section id=\"diverged\"><h2>The training diverged",
            found->step > 0 ? " in step " + grouped(found->step) : std::string(), "</h2>\n<p>", prose(found->finding),
            " ", prose(found->cause), "</p>\n<p>", prose(found->remedy), "</p>\n</section>\n"});
}

inline void append_heading(std::string& out, const report_data& data) {
  add(out, {"<h1>", escaped(data.title), "</h1>\n"});
  append_divergence(out, data);
  std::vector<std::pair<std::string, std::string>> tiles;
  tiles.emplace_back("replicas", std::to_string(data.replicas));
  if (data.batch > 0) tiles.emplace_back("batch", grouped(data.batch));
  if (data.parameters > 0) tiles.emplace_back("parameters", grouped(data.parameters));
  if (data.samples_per_s > 0 && std::isfinite(data.samples_per_s))
    tiles.emplace_back("samples/s", data.samples_per_s < 100 ? three_digits(data.samples_per_s)
                                                             : grouped(std::llround(data.samples_per_s)));
  if (!data.losses.empty()) {
    tiles.emplace_back("steps", grouped(static_cast<std::int64_t>(data.losses.size())));
    tiles.emplace_back("last loss", loss_text(data.losses.back()));
  }
  if (!data.test_losses.empty()) tiles.emplace_back("test loss", loss_text(data.test_losses.back().loss));
  if (!data.accuracies.empty() && std::isfinite(data.accuracies.back()))
    tiles.emplace_back("last accuracy", percent_text(data.accuracies.back()));
  if (data.seconds > 0) tiles.emplace_back("training time", duration_text(data.seconds));
  out.append("<dl class=\"tiles\">\n");
  for (const auto& [name, value] : tiles)
    add(out, {"<div><dt>", escaped(name), "</dt><dd>", escaped(value), "</dd></div>\n"});
  out.append("</dl>\n");
  const bool facts = !data.facts.empty() || !data.origin.empty();
  if (!facts && data.model.empty()) return;
  out.append("<section id=\"run\"><h2>Run</h2>\n");
  if (facts) out.append("<dl class=\"facts\">\n");
  for (const auto* pairs : {&data.facts, &data.origin})
    for (const auto& [name, value] : *pairs)
      add(out, {"<div><dt>", escaped(name), "</dt><dd>", with_breaks(prose(value)), "</dd></div>\n"});
  if (facts) out.append("</dl>\n");
  if (!data.model.empty()) add(out, {"<pre id=\"model\">", escaped(data.model), "</pre>\n"});
  out.append("</section>\n");
}

/// Appends the advice, or a sentence that there is none. A run that diverged gets no such sentence, which would suggest
/// that all is well.
inline void append_advice(std::string& out, const report_data& data) {
  const std::vector<advice> all = advise(data);
  const bool measured = data.times.seconds > 0;
  if (all.empty() && divergence_of(data)) return;
  constexpr std::array<std::string_view, 4> ids{"small-batch", "imbalance", "loader", "communication"};
  out.append("<section id=\"advice\"><h2>What to try</h2>\n");
  if (all.empty() && measured)
    out.append("<p>Nothing stands out in what was measured.</p>\n");
  else if (all.empty())
    out.append("<p>No timeline was recorded, so there is nothing to base advice on.</p>\n");
  for (const advice& one : all)
    add(out, {R"(<div class="advice" id="advice-)", ids.at(static_cast<std::size_t>(one.about)), "\"><b>",
              escaped(one.headline), ".</b> ", prose(one.finding), "<p>", prose(one.remedy), "</p></div>\n"});
  out.append("</section>\n");
}

/// Appends how many losses are not finite, which the curve cannot show. A single one is left out when the curve has
/// other points: the top of the page names it.
inline void append_broken_losses(std::string& out, const report_data& data) {
  std::int64_t broken = 0;
  std::int64_t first = 0;
  for (std::size_t i = data.losses.size(); i-- > 0;)
    if (!drawable(data.losses[i])) {
      ++broken;
      first = data.first_step + static_cast<std::int64_t>(i);
    }
  if (broken > 1 || broken == static_cast<std::int64_t>(data.losses.size()))
    add(out, {R"(<p class="muted" id="broken-losses">The loss is not finite in )", grouped(broken),
              broken == 1 ? " step" : " steps", ", first in step ", grouped(first), ".</p>\n"});
}

inline void append_curves(std::string& out, const report_data& data) {
  // One value makes no curve; it is shown at the top of the page.
  const bool accuracies = std::count_if(data.accuracies.begin(), data.accuracies.end(), drawable) > 1;
  if (data.losses.empty() && !accuracies) return;
  out.append("<div class=\"pair\">\n");
  if (!data.losses.empty()) {
    line_chart chart{.id = "loss", .title = "Loss", .x_name = "step", .y_name = "loss"};
    chart.points = decimate(data.losses, data.first_step, report_points);
    if (data.losses.size() >= 100)
      chart.average = moving_average(data.losses, data.first_step, data.losses.size() / 50, report_points / 4);
    chart.others_name = "test";
    for (const measured_loss& test : data.test_losses)
      if (drawable(test.loss)) chart.others.push_back({static_cast<double>(test.step), test.loss});
    const auto broken = std::find_if_not(data.losses.begin(), data.losses.end(), drawable);
    if (broken != data.losses.end())
      chart.broken_at = static_cast<double>(data.first_step + (broken - data.losses.begin()));
    out.append("<section>\n");
    append_line_chart(out, chart);
    append_broken_losses(out, data);
    out.append("</section>\n");
  }
  if (accuracies) {
    line_chart chart{.id = "accuracy", .title = "Accuracy after each epoch", .x_name = "epoch", .y_name = "accuracy"};
    chart.points = decimate(data.accuracies, 1, report_points);
    chart.percent = true;
    chart.dots = data.accuracies.size() <= 50;
    out.append("<section>\n");
    append_line_chart(out, chart);
    out.append("</section>\n");
  }
  out.append("</div>\n");
}

inline void append_replicas(std::string& out, const timeline_summary& times) {
  if (times.replicas.empty() || times.seconds <= 0) return;
  struct activity_share {
    std::string_view name;
    std::string_view colour;
    double replica_time::*share;
  };
  std::vector<activity_share> kinds{{"computing", "c0", &replica_time::busy},
                                    {"communication", "c1", &replica_time::communicate},
                                    {"update", "c2", &replica_time::update},
                                    {"waiting", "c3", &replica_time::wait},
                                    {"between steps", "c4", &replica_time::idle}};
  const bool communicated = times.communication > 0 || std::any_of(times.replicas.begin(), times.replicas.end(),
                                                                   [](const auto& r) { return r.communicate > 0; });
  if (!communicated) kinds.erase(kinds.begin() + 1);
  out.append("<section id=\"replicas\"><h2>Where the time goes</h2>\n<div class=\"legend\">");
  for (const activity_share& kind : kinds)
    add(out, {"<span><i class=\"", kind.colour, "\"></i>", kind.name, "</span>"});
  out.append("</div>\n<div class=\"bars\">\n");
  std::vector<std::vector<std::string>> rows;
  for (std::size_t r = 0; r < times.replicas.size(); ++r) {
    const replica_time& time = times.replicas[r];
    std::vector<bar_part> parts;
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back("replica " + std::to_string(r));
    for (const activity_share& kind : kinds) {
      parts.push_back({time.*kind.share, kind.colour, kind.name});
      row.push_back(percent_text(time.*kind.share));
    }
    append_bar(out, row.front(), parts, percent_text(time.busy));
  }
  std::string note;
  add(note, {"Shares of the ", duration_text(times.seconds), " that were recorded, ", grouped(times.steps),
             times.steps == 1 ? " step" : " steps", "; the number beside a bar is computing."});
  if (times.replicas.size() > 1) add(note, {" Imbalance of computing: ", percent_text(times.imbalance), "."});
  if (times.communication > 0)
    add(note, {" Communication: ", duration_text(times.communication), ", ", percent_text(times.overlap),
               " of it hidden by computing."});
  if (times.dropped > 0)
    add(note, {" ", grouped(times.dropped), times.dropped == 1 ? " event" : " events",
               " found no room: what follows the first full track is left out."});
  add(out, {"</div>\n<p class=\"muted\">", prose(note), "</p>\n<details><summary>As numbers</summary>\n"});
  std::vector<std::string_view> head{"replica"};
  for (const activity_share& kind : kinds) head.push_back(kind.name);
  append_table(out, 1, head, rows);
  out.append("</details></section>\n");
}

/// The nodes and passes that replicas spend most of their computing time on.
inline void append_slowest(std::string& out, const report_data& data) {
  std::vector<phase_time> slow;
  double busy = 0;
  for (const phase_time& phase : data.times.phases) {
    if (!is_busy(phase.what)) continue;
    busy += phase.seconds;
    slow.push_back(phase);
  }
  if (slow.empty() || busy <= 0) return;
  std::stable_sort(slow.begin(), slow.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  // With events missing, the recorded time does not cover all samples.
  const bool speed = data.recorded_samples > 0 && data.times.dropped == 0;
  std::vector<std::vector<std::string>> rows;
  for (const phase_time& phase : slow) {
    if (rows.size() == report_slowest) break;
    const bool known = phase.index >= 0 && static_cast<std::size_t>(phase.index) < data.plan.size();
    const plan_row node = known             ? data.plan[static_cast<std::size_t>(phase.index)]
                          : phase.index < 0 ? plan_row{.kind = "each micro-shard"}
                                            : plan_row{.kind = "node " + std::to_string(phase.index)};
    const std::int64_t flops = phase.what == activity::forward    ? node.forward_flops
                               : phase.what == activity::backward ? node.backward_flops
                                                                  : 0;
    auto& row = rows.emplace_back(std::vector<std::string>{
        node.layer.empty() ? node.kind : node.layer + " " + node.kind, std::string(to_string(phase.what)),
        percent_text(phase.seconds / busy), duration_text(phase.mean()), grouped(phase.calls)});
    if (speed)
      row.push_back(flops > 0 && phase.seconds > 0
                        ? three_digits(1e-9 * static_cast<double>(flops) * static_cast<double>(data.recorded_samples) /
                                       phase.seconds)
                        : std::string("-"));
  }
  constexpr std::array<std::string_view, 6> head{"layer", "pass", "share", "mean", "calls", "GFLOP/s"};
  out.append(
      "<section id=\"slowest\"><h2>Slowest nodes</h2>\n"
      "<p class=\"muted\">Share of the replicas' computing; mean of one call on one micro-shard.</p>\n");
  append_table(out, 2, std::span(head).first(speed ? 6 : 5), rows);
  out.append("</section>\n");
}

inline void append_memory(std::string& out, const std::vector<memory_item>& memory) {
  std::int64_t total = 0;
  for (const memory_item& item : memory) total += item.bytes;
  if (total <= 0) return;
  add(out, {"<section id=\"memory\"><h2>Memory: ", bytes_text(total), "</h2>\n<div class=\"bars\">\n"});
  for (const memory_item& item : memory) {
    const std::array<bar_part, 1> part{
        {{static_cast<double>(item.bytes) / static_cast<double>(total), "c0", item.name}}};
    append_bar(out, item.name, part, bytes_text(item.bytes));
  }
  out.append("</div></section>\n");
}

/// Appends the plan as a drawing: one for wide pages and one for narrow ones.
inline void append_network(std::string& out, const std::vector<plan_row>& plan) {
  if (plan.empty()) return;
  add(out,
      {"<section id=\"network\"><h2>Network</h2>\n<p class=\"muted\">The nodes of the plan, and the values they read.",
       plan.back().segment > 0 ? " At a dashed line the pass waits for the statistics of the whole batch." : "",
       "</p>\n"});
  std::string wide;
  std::string narrow;
  append_plan_svg(wide, plan, 1036, false);
  append_plan_svg(narrow, plan, 346, false);
  if (wide == narrow)
    out.append(wide);
  else
    add(out, {"<div class=\"wide-page\">", wide, "</div>\n<div class=\"narrow-page\">", narrow, "</div>\n"});
  out.append("</section>\n");
}

inline void append_plan(std::string& out, const std::vector<plan_row>& plan) {
  if (plan.empty()) return;
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const plan_row& node = plan[i];
    rows.push_back({std::to_string(i), node.layer, node.kind, node.sample, grouped(node.parameters),
                    bytes_text(node.output_bytes), grouped(node.forward_flops), grouped(node.backward_flops)});
  }
  constexpr std::array<std::string_view, 8> head{"node",       "layer",  "kind",          "sample",
                                                 "parameters", "output", "forward flops", "backward flops"};
  out.append("<section id=\"plan\"><h2>Plan</h2>\n<p class=\"muted\">Extents, bytes and flops of one sample.</p>\n");
  append_table(out, 4, head, rows);
  out.append("</section>\n");
}

}  // namespace detail

/// Returns the report as one page of HTML that loads nothing: style, charts and script are inside. The page is also
/// well-formed XML.
[[nodiscard]] inline std::string report_html(const report_data& data) {
  using detail::add;
  std::string out;
  add(out,
      {"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>", detail::escaped(data.title),
       "</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n",
       R"(<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; )",
       "script-src 'unsafe-inline'\"/>\n<style>\n:root { color-scheme: light dark; ", detail::light_colours,
       " }\n@media (prefers-color-scheme: dark) { :root { ", detail::dark_colours, " } }", detail::page_style,
       detail::plan_style, "</style>\n</head>\n<body>\n<main>\n"});
  detail::append_heading(out, data);
  detail::append_advice(out, data);
  detail::append_curves(out, data);
  detail::append_replicas(out, data.times);
  detail::append_slowest(out, data);
  detail::append_memory(out, data.memory);
  detail::append_network(out, data.plan);
  detail::append_plan(out, data.plan);
  add(out, {"</main>\n<script>", detail::page_script, "</script>\n</body>\n</html>\n"});
  return out;
}

/// Writes the report; the file appears whole or not at all. Throws io_error when it cannot be written.
inline void write_report(const std::string& path, const report_data& data) {
  const std::string page = report_html(data);
  write_file(path, std::as_bytes(std::span(page)));
}

}  // namespace lockstep
