// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/lockstep.hpp>
#include <lockstep/observe/report_data.hpp>
#include <lockstep/parallel/timeline.hpp>

/// \file
/// A small run to report on, and looks at pages.

namespace lockstep_test {

using small = lockstep::model<lockstep::sequential<lockstep::named<"conv1", lockstep::conv2d<4, 3>>, lockstep::relu,
                                                   lockstep::flatten, lockstep::named<"fc", lockstep::linear<64, 10>>>,
                              lockstep::input<2, 6, 6>, lockstep::cross_entropy>;

inline constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

inline bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

inline int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

/// The page with plain blanks for those that keep a number and its unit on one line.
inline std::string unjoined(std::string page) {
  for (std::size_t at = page.find("\u00A0"); at != std::string::npos; at = page.find("\u00A0", at))
    page.replace(at, std::string_view("\u00A0").size(), " ");
  return page;
}

/// Empty for well-formed XML (of the little that pages use), else what is wrong.
inline std::string fault_of(std::string_view page) {
  constexpr std::string_view type = "<!DOCTYPE html>";
  if (page.substr(0, type.size()) != type) return "no doctype";
  page.remove_prefix(type.size());
  std::vector<std::string_view> open;
  while (!page.empty()) {
    const std::string_view text = page.substr(0, page.find('<'));
    for (std::size_t at = text.find('&'); at != std::string_view::npos; at = text.find('&', at + 1)) {
      const std::string_view entity = text.substr(at, text.find(';', at) - at + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;" && entity != "&#39;")
        return "entity " + std::string(entity.substr(0, 20));
    }
    if (open.empty() && text.find_first_not_of('\n') != std::string_view::npos) return "text outside";
    page.remove_prefix(text.size());
    if (page.empty()) break;
    std::size_t end = 1;
    for (bool quoted = false; end < page.size() && (quoted || page[end] != '>'); ++end) {
      if (page[end] == '"') quoted = !quoted;
      if (page[end] == '<') return "< inside " + std::string(page.substr(0, 40));
    }
    if (end == page.size()) return "an open tag";
    const std::string_view tag = page.substr(1, end - 1);
    page.remove_prefix(end + 1);
    const bool closes = tag.front() == '/';
    const bool alone = tag.back() == '/';
    const std::string_view name = tag.substr(closes ? 1 : 0, tag.find_first_of(" /", 1) - (closes ? 1 : 0));
    if (closes) {
      if (open.empty() || open.back() != tag.substr(1)) return "closes " + std::string(tag);
      open.pop_back();
    } else if (!alone) {
      open.push_back(name);
    }
  }
  return open.empty() ? std::string() : "never closed: " + std::string(open.back());
}

inline lockstep::timeline_event event(std::int64_t begin, std::int64_t end, lockstep::activity what, int index = -1,
                                      int step = 0) {
  return {.begin = begin, .end = end, .step = step, .index = static_cast<std::int16_t>(index), .what = what};
}

/// Two replicas that compute 80 % of 1 ms, wait 10 % and update 10 %, and a bucket hidden behind them.
inline lockstep::timeline good_timeline() {
  lockstep::timeline t(3, 16);
  for (int r = 0; r < 2; ++r) {
    t.record(r, event(0, 300'000, lockstep::activity::forward, 0));
    t.record(r, event(300'000, 800'000, lockstep::activity::backward, 0));
    t.record(r, event(800'000, 900'000, lockstep::activity::wait));
    t.record(r, event(900'000, 1'000'000, lockstep::activity::update));
  }
  t.record(2, event(400'000, 600'000, lockstep::activity::communicate, 0));
  return t;
}

inline lockstep::report_data good_data() {
  auto data = lockstep::make_report_data<small, lockstep::cpu>(
      good_timeline(), {.replicas = 2, .batch = 64, .optimizer_states = 1, .data_bytes = 3 << 20});
  data.title = "a run";
  data.model = "sequential<conv2d<4, 3>, relu>";
  data.facts = {{"optimizer", "sgd"}};
  data.samples_per_s = 12'345.6;
  data.seconds = 61.5;
  for (int i = 0; i < 300; ++i) data.losses.push_back(2.5 / (1 + 0.01 * i));
  data.test_losses = {{100, 1.5}, {200, 1.25}, {300, 1.125}};
  data.accuracies = {0.25, 0.5, 0.625};
  data.recorded_samples = 64;
  return data;
}

}  // namespace lockstep_test
