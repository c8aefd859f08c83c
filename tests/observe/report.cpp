// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/observe/report.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "io/io_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using lockstep_test::slurp;
using lockstep_test::temporary_folder;
using ls::activity;
using ls::advice_about;

using small = ls::model<
    ls::sequential<ls::named<"conv1", ls::conv2d<4, 3>>, ls::relu, ls::flatten, ls::named<"fc", ls::linear<64, 10>>>,
    ls::input<2, 6, 6>, ls::cross_entropy>;

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

/// Empty for well-formed XML (of the little that pages use), else what is wrong.
std::string fault_of(std::string_view page) {
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

ls::timeline_event event(std::int64_t begin, std::int64_t end, activity what, int index = -1, int step = 0) {
  return {.begin = begin, .end = end, .step = step, .index = static_cast<std::int16_t>(index), .what = what};
}

/// Two replicas that compute 80 % of 1 ms, wait 10 % and update 10 %, and a bucket hidden behind them.
ls::timeline good_timeline() {
  ls::timeline t(3, 16);
  for (int r = 0; r < 2; ++r) {
    t.record(r, event(0, 300'000, activity::forward, 0));
    t.record(r, event(300'000, 800'000, activity::backward, 0));
    t.record(r, event(800'000, 900'000, activity::wait));
    t.record(r, event(900'000, 1'000'000, activity::update));
  }
  t.record(2, event(400'000, 600'000, activity::communicate, 0));
  return t;
}

ls::report_data good_data() {
  auto data = ls::make_report_data<small, ls::cpu>(
      good_timeline(), {.replicas = 2, .batch = 64, .optimizer_states = 1, .data_bytes = 3 << 20});
  data.title = "a run";
  data.model = "sequential<conv2d<4, 3>, relu>";
  data.facts = {{"optimizer", "sgd"}};
  data.samples_per_s = 12'345.6;
  data.seconds = 61.5;
  for (int i = 0; i < 300; ++i) data.losses.push_back(2.5 / (1 + 0.01 * i));
  data.accuracies = {0.25, 0.5, 0.625};
  data.recorded_samples = 64;
  return data;
}

std::vector<advice_about> subjects(const ls::report_data& data) {
  std::vector<advice_about> all;
  for (const auto& one : ls::advise(data)) all.push_back(one.about);
  return all;
}

/// One replica's shares of its time; the rest is idle.
ls::replica_time shares(double busy, double communicate, double update, double wait) {
  return {busy, communicate, update, wait, 1 - busy - communicate - update - wait};
}

}  // namespace

TEST_CASE("a report is well-formed and holds what was measured") {
  const std::string page = ls::report_html(good_data());
  CHECK(fault_of(page).empty());
  CHECK(has(page, "<title>a run</title>"));
  CHECK(has(page, "<dt>replicas</dt><dd>2</dd>"));
  CHECK(has(page, "<dt>batch</dt><dd>64</dd>"));
  CHECK(has(page, "<dt>parameters</dt><dd>726</dd>"));
  CHECK(has(page, "<dt>samples/s</dt><dd>12,346</dd>"));
  CHECK(has(page, "<dt>steps</dt><dd>300</dd>"));
  CHECK(has(page, "<dt>last loss</dt><dd>0.6266</dd>"));
  CHECK(has(page, "<dt>last accuracy</dt><dd>62.5 %</dd>"));
  CHECK(has(page, "<dt>training time</dt><dd>61.5 s</dd>"));
  CHECK(has(page, "<dt>optimizer</dt><dd>sgd</dd>"));
  CHECK(has(page, "sequential&lt;conv2d&lt;4, 3&gt;, relu&gt;"));
  CHECK(has(page, "<figure class=\"chart\" id=\"loss\""));
  CHECK(has(page, "<figure class=\"chart\" id=\"accuracy\""));
  CHECK(count(page, "<rect class=\"c0\"") == 2 + 5);  // replicas, and memory by category
  CHECK(count(page, "<title>computing 80.0 %</title>") == 2);
  CHECK(count(page, "<title>waiting 10.0 %</title>") == 2);
  CHECK(has(page, "Shares of the 1.00 ms that were recorded, 1 step;"));
  CHECK(has(page, "Communication: 200 \u00B5s, 100.0 % of it behind computing."));
  CHECK(has(page, "<td class=\"left\">backward</td><td>62.5 %</td><td>500 \u00B5s</td><td>2</td>"));
  CHECK(has(page, "<td class=\"left\">2x6x6 -&gt; 4x4x4</td>"));
  CHECK(has(page, "3.00 MiB"));
  // Nothing comes from elsewhere.
  CHECK_FALSE(has(page, "http:"));
  CHECK_FALSE(has(page, "https:"));
  CHECK_FALSE(has(page, "src="));
  CHECK_FALSE(has(page, "href="));
  CHECK_FALSE(has(page, "@import"));
  CHECK_FALSE(has(page, "url("));
}

TEST_CASE("a report leaves out what is not known") {
  const std::string page = ls::report_html({});
  CHECK(fault_of(page).empty());
  for (const char* part : {"<figure", "id=\"replicas\"", "id=\"slowest\"", "id=\"memory\"", "id=\"plan\"", "id=\"run\"",
                           "samples/s", "last loss", "last accuracy", "id=\"advice-"})
    CHECK_FALSE(has(page, part));
  CHECK(has(page, "No timeline was recorded"));
  CHECK(has(ls::report_html(good_data()), "Nothing stands out"));

  auto slow = good_data();
  CHECK(has(ls::report_html(slow), "GFLOP/s"));
  slow.recorded_samples = 0;
  CHECK_FALSE(has(ls::report_html(slow), "GFLOP/s"));
}

TEST_CASE("text from outside cannot become part of a report's markup") {
  auto data = good_data();
  const std::string evil = "<script>alert(\"1\")</script> & 'x'\x01";
  data.title = data.model = evil;
  data.facts = {{evil, evil}};
  data.plan.at(0).layer = data.plan.at(0).kind = data.plan.at(0).sample = evil;
  data.memory.at(0).name = evil;
  const std::string page = ls::report_html(data);
  CHECK(fault_of(page).empty());
  CHECK_FALSE(has(page, "alert(\"1\")"));
  CHECK_FALSE(has(page, "<script>alert"));
  CHECK_FALSE(has(page, "\x01"));
  CHECK(count(page, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;\uFFFD") >= 9);
}

TEST_CASE("advice is given when its condition holds, and only then") {
  ls::report_data data;
  data.replicas = 2;
  data.batch = 64;
  data.times.seconds = 1;
  data.times.replicas = {shares(0.75, 0, 0.1, 0.15), shares(0.75, 0, 0.1, 0.15)};
  CHECK(subjects(data).empty());

  SECTION("a batch too small") {
    data.times.replicas = {shares(0.74, 0, 0.1, 0.16), shares(0.74, 0, 0.2, 0.06)};
    REQUIRE(subjects(data) == std::vector{advice_about::small_batch});
    CHECK(has(ls::advise(data)[0].finding, "26.0 %"));
    CHECK(has(ls::advise(data)[0].remedy, "fewer replicas"));
    CHECK(has(ls::advise(data)[0].remedy, "32 samples"));
    // What happens between steps changes nothing: 0.3 of 0.5.
    data.times.replicas = {shares(0.2, 0, 0.1, 0.2)};
    data.replicas = 1;
    REQUIRE(subjects(data) == std::vector{advice_about::small_batch});
    CHECK(has(ls::advise(data)[0].finding, "60.0 %"));
    CHECK_FALSE(has(ls::advise(data)[0].remedy, "fewer replicas"));
    CHECK(ls::advise(data, {.wait_and_update = 0.61}).empty());
  }
  SECTION("replicas out of balance") {
    data.times.imbalance = 0.10;
    CHECK(subjects(data).empty());
    data.times.imbalance = 0.11;
    REQUIRE(subjects(data) == std::vector{advice_about::imbalance});
    CHECK_FALSE(has(ls::advise(data)[0].remedy, "shards"));
    data.batch = 65;
    CHECK(has(ls::advise(data)[0].remedy, "33+32"));
    data.times.replicas.pop_back();
    CHECK(subjects(data).empty());
  }
  SECTION("a slow loader") {
    data.loader_wait = 0.10;
    CHECK(subjects(data).empty());
    data.loader_wait = 0.41;
    REQUIRE(subjects(data) == std::vector{advice_about::loader});
    CHECK(has(ls::advise(data)[0].finding, "41.0 %"));
    CHECK(has(ls::advise(data)[0].remedy, "prefetch"));
  }
  SECTION("communication that is not hidden") {
    data.times.communication = 0.5;
    data.times.overlap = 0.81;
    CHECK(subjects(data).empty());
    data.times.overlap = 0.70;
    REQUIRE(subjects(data) == std::vector{advice_about::communication});
    CHECK(has(ls::advise(data)[0].finding, "15.0 %"));
    CHECK(has(ls::advise(data)[0].remedy, "smaller buckets"));
  }
  SECTION("all at once, on the page") {
    data.times.replicas = {shares(0.5, 0, 0.1, 0.4), shares(0.3, 0, 0.1, 0.6)};
    data.times.imbalance = 0.4;
    data.times.communication = 0.3;
    data.loader_wait = 0.2;
    const std::string page = ls::report_html(data);
    CHECK(fault_of(page).empty());
    for (const char* id : {"small-batch", "imbalance", "loader", "communication"})
      CHECK(count(page, "id=\"advice-" + std::string(id) + "\"") == 1);
  }
}

TEST_CASE("a long curve keeps its smallest and largest values") {
  std::vector<double> values(100'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1 + 0.1 * std::sin(static_cast<double>(i));
  values[12'345] = 9;
  values[54'321] = -7;
  const auto points = ls::detail::decimate(values, 1, 2'000);
  CHECK(points.size() <= 2'000);
  CHECK(points.size() > 1'900);
  bool ordered = true;
  bool peak = false;
  bool dip = false;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i > 0 && points[i].x <= points[i - 1].x) ordered = false;
    peak = peak || (points[i].x == 12'346 && points[i].y == 9);
    dip = dip || (points[i].x == 54'322 && points[i].y == -7);
    if (values.at(static_cast<std::size_t>(points[i].x) - 1) != points[i].y) ordered = false;
  }
  CHECK(ordered);
  CHECK(peak);
  CHECK(dip);
  CHECK(ls::detail::decimate(std::vector<double>(2'000, 1.0), 5, 2'000).size() == 2'000);
  CHECK(ls::detail::decimate(std::vector<double>{4, 3}, 5, 2'000)[1].x == 6);
  CHECK(ls::detail::decimate({}, 1, 2'000).empty());
}

TEST_CASE("a moving average skips what is no number") {
  const std::vector<double> values{1, 3, no_number, 8, no_number, no_number, no_number};
  const auto means = ls::detail::moving_average(values, 10, 1, 100);
  REQUIRE(means.size() == 7);
  CHECK(means[0].x == 10);
  CHECK(means[6].x == 16);
  CHECK(means[0].y == 2);
  CHECK(means[1].y == 2);
  CHECK(means[2].y == 5.5);
  CHECK(means[3].y == 8);
  CHECK(means[4].y == 8);
  CHECK(std::isnan(means[6].y));
  // A peak leaves nothing behind.
  std::vector<double> peak(1'000, 0.5);
  peak[100] = 1e30;
  const auto few = ls::detail::moving_average(peak, 1, 20, 5);
  REQUIRE(few.size() == 5);
  CHECK(few.front().x == 1);
  CHECK(few.back().x == 1'000);
  CHECK(few.back().y == 0.5);
  CHECK(ls::detail::moving_average({}, 1, 3, 5).empty());
}

TEST_CASE("losses of every kind make a page") {
  auto data = good_data();
  SECTION("none is a number") {
    data.losses = {no_number, no_number};
    const std::string page = ls::report_html(data);
    CHECK(fault_of(page).empty());
    CHECK_FALSE(has(page, "id=\"loss\""));
    CHECK(has(page, "not finite in 2 steps, first in step 1."));
  }
  SECTION("some are not") {
    data.losses = {1, 2, no_number, 3, std::numeric_limits<double>::infinity(), 4};
    data.first_step = 100;
    const std::string page = ls::report_html(data);
    CHECK(fault_of(page).empty());
    CHECK(has(page, "not finite in 2 steps, first in step 102."));
    CHECK_FALSE(has(page, "nan"));
    CHECK_FALSE(has(page, "inf"));
  }
  SECTION("they span decades") {
    data.losses = {100, 1, 0.01};
    CHECK(has(ls::report_html(data), "logarithmic"));
    data.losses = {100, 1, 0};
    CHECK_FALSE(has(ls::report_html(data), "logarithmic"));
  }
  SECTION("they are alike, or extreme") {
    for (const auto& losses : std::vector<std::vector<double>>{{0},
                                                               {-3, -3, -3},
                                                               {1, 1 + 1e-16, 1},
                                                               {1, std::nextafter(1.0, 2.0)},
                                                               {0, 5e-324},
                                                               {5e-324, 1e299},
                                                               {-1e299, 1e299},
                                                               {1e15, 1e15 + 1},
                                                               {std::numeric_limits<double>::max(), 1}}) {
      INFO("losses " << losses[0] << ", " << losses.back());
      data.losses = losses;
      data.accuracies = {losses[0]};
      const std::string page = ls::report_html(data);
      CHECK(fault_of(page).empty());
      CHECK(has(page, "id=\"loss\""));
      CHECK_FALSE(has(page, "nan"));
    }
  }
}

TEST_CASE("numbers read the way a person writes them") {
  using namespace ls::detail;
  CHECK(duration_text(0.0012) == "1.20 ms");
  CHECK(duration_text(0.00099999) == "1.00 ms");
  CHECK(duration_text(45.67e-6) == "45.7 \u00B5s");
  CHECK(duration_text(12e-9) == "12 ns");
  CHECK(duration_text(61) == "61.0 s");
  CHECK(duration_text(600) == "10.0 min");
  CHECK(duration_text(9'000) == "2.5 h");
  CHECK(bytes_text(0) == "0 B");
  CHECK(bytes_text(1'023) == "1023 B");
  CHECK(bytes_text(2'628'648) == "2.51 MiB");
  CHECK(bytes_text((std::int64_t{1} << 20) - 1) == "1.00 MiB");
  CHECK(percent_text(0.4567) == "45.7 %");
  CHECK(percent_text(no_number) == "-");
  const auto axis = linear_axis(0.31, 2.4, 4, true, false);
  CHECK(axis.labels == std::vector<std::string>{"0", "1", "2", "3"});
  CHECK(axis.at(1.5) == Approx(50));
  CHECK(linear_axis(-0.02, 0.03, 4, true, false).labels == std::vector<std::string>{"-0.02", "0.00", "0.02", "0.04"});
  CHECK(logarithmic_axis(0.02, 30).labels == std::vector<std::string>{"0.01", "0.1", "1", "10", "100"});
}

TEST_CASE("the memory of a run is counted by category") {
  const auto data = good_data();
  REQUIRE(data.memory.size() == 5);
  const std::int64_t parameters = 4 * (76 + 650);
  CHECK(data.memory[0].bytes == parameters);
  CHECK(data.memory[1].bytes == 2 * parameters);
  CHECK(data.memory[2].bytes == parameters);
  // 64 samples at once: the arena of a sample is far below what would cut a shard of 32.
  CHECK(data.memory[3].bytes == 4 * 64 * small::plan<ls::cpu>.arena_size);
  CHECK(data.memory[4].bytes == 3 << 20);
  // Each replica has a copy of the parameters in the elements of its passes.
  using narrow = ls::reference<double, float>;
  const auto converted = ls::make_report_data<small, narrow>(good_timeline(), {.replicas = 2, .batch = 64}).memory;
  REQUIRE(converted.size() == 6);
  CHECK(converted[0].bytes == 2 * parameters);
  CHECK(converted[1].bytes == 2 * parameters);
  CHECK(converted[4].bytes == 4 * 64 * small::plan<narrow>.arena_size);
  CHECK_THROWS_AS((ls::make_report_data<small, ls::cpu>(good_timeline(), {.replicas = 0})), ls::value_error);
  CHECK_THROWS_AS((ls::make_report_data<small, ls::cpu>(good_timeline(), {.replicas = 4})), ls::value_error);
}

TEST_CASE("a report is written whole or not at all") {
  const temporary_folder folder;
  CHECK_THROWS_AS(ls::write_report(folder / "none/report.html", good_data()), ls::io_error);
  CHECK(folder.file_count() == 0);
  ls::write_report(folder / "report.html", good_data());
  CHECK(slurp(folder / "report.html") == ls::report_html(good_data()));
}

namespace {

/// The path of a browser that can dump a page, or nothing.
std::string browser() {
  const char* path = std::getenv("PATH");
  const std::string folders = path == nullptr ? "" : path;
  for (const char* name : {"chromium", "google-chrome"})
    for (std::size_t at = 0; at < folders.size();) {
      const std::size_t end = std::min(folders.find(':', at), folders.size());
      const auto file = std::filesystem::path(folders.substr(at, end - at)) / name;
      std::error_code ignored;
      if (std::filesystem::is_regular_file(file, ignored)) return file.string();
      at = end + 1;
    }
  return {};
}

/// What a page looks like to a browser once its scripts have run.
std::string opened(const std::string& program, const temporary_folder& folder, const std::string& page) {
  std::ofstream(folder / "page.html", std::ios::binary) << page;
  const std::string command = "timeout 100 '" + program + "' --headless --no-sandbox --disable-gpu --user-data-dir='" +
                              (folder / "profile") + "' --dump-dom 'file://" + (folder / "page.html") + "' > '" +
                              (folder / "dom") + "' 2> /dev/null";
  return std::system(command.c_str()) == 0 ? slurp(folder / "dom") : std::string();
}

}  // namespace

TEST_CASE("a browser shows the charts of a report without an error") {
  const std::string program = browser();
  if (program.empty()) LOCKSTEP_SKIP("neither chromium nor google-chrome is in PATH");
  const temporary_folder folder;
  if (!has(opened(program, folder, "<p>a probe</p>"), "<p>a probe</p>"))
    LOCKSTEP_SKIP("the browser cannot open a file of a temporary folder here");

  // The pointer at the right edge of the first chart, and in the middle of the second.
  const std::string page = ls::report_html(good_data());
  const std::string moves = R"js(<script>
    [["#loss", 1], ["#accuracy", 0.5]].forEach(([chart, part]) => {
      const area = document.querySelector(chart + " .area");
      const box = area.getBoundingClientRect();
      area.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + part * box.width }));
    });
  </script>)js";
  std::string with_pointer = page;
  with_pointer.insert(page.find("</body>"), moves);
  const std::string dom = opened(program, folder, with_pointer);
  CHECK(has(dom, "data-ready=\"yes\""));
  CHECK_FALSE(has(dom, "data-script-error"));
  CHECK(count(dom, "<svg") == count(page, "<svg"));
  CHECK(count(dom, "<rect") == count(page, "<rect"));
  CHECK(count(dom, "<path class=\"line") == count(page, "<path class=\"line"));
  CHECK(has(dom, ">step 300: loss 0.626566</div>"));
  CHECK(has(dom, ">epoch 2: accuracy 50.00 %</div>"));

  // The check sees an error when there is one.
  std::string broken = page;
  broken.insert(page.find("</body>"), "<script>no_such_function()</script>");
  CHECK(has(opened(program, folder, broken), "data-script-error"));
}
