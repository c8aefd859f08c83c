// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/observe/report.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "io/io_support.hpp"
#include "observe/report_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using namespace lockstep_test;
using ls::activity;
using ls::advice_about;

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
  const std::string page = unjoined(ls::report_html(good_data()));
  CHECK(fault_of(page).empty());
  CHECK(has(page, "<title>a run</title>"));
  CHECK(has(page, "<dt>replicas</dt><dd>2</dd>"));
  CHECK(has(page, "<dt>batch</dt><dd>64</dd>"));
  CHECK(has(page, "<dt>parameters</dt><dd>726</dd>"));
  CHECK(has(page, "<dt>samples/s</dt><dd>12,346</dd>"));
  CHECK(has(page, "<dt>steps</dt><dd>300</dd>"));
  CHECK(has(page, "<dt>last loss</dt><dd>0.6266</dd>"));
  CHECK(has(page, "<dt>test loss</dt><dd>1.125</dd>"));
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
  CHECK(has(page, "Communication: 200 \u00B5s, 100.0 % of it hidden by computing."));
  CHECK(has(page,
            "<td class=\"left\" data-name=\"pass\">backward</td><td data-name=\"share\">62.5 %</td>"
            "<td data-name=\"mean\">500 \u00B5s</td><td data-name=\"calls\">2</td>"));
  CHECK(has(page, "<td class=\"left\" data-name=\"sample\">2x6x6 -&gt; 4x4x4</td>"));
  CHECK(has(page, "3.00 MiB"));
  // Nothing comes from elsewhere.
  CHECK_FALSE(has(page, "http:"));
  CHECK_FALSE(has(page, "https:"));
  CHECK_FALSE(has(page, "src="));
  CHECK_FALSE(has(page, "href="));
  CHECK_FALSE(has(page, "@import"));
  CHECK_FALSE(has(page, "url("));
}

TEST_CASE("a report says first that the training diverged", "[report]") {
  auto data = good_data();
  CHECK_FALSE(has(ls::report_html(data), "id=\"diverged\""));
  SECTION("by what the losses tell") {
    data.losses = {2.5, 100, no_number};
    data.test_losses = {{3, no_number}};
    const std::string page = ls::report_html(data);
    CHECK(fault_of(page).empty());
    CHECK(has(page, "<h2>The training diverged in step 3</h2>"));
    CHECK(has(page, "It rose from 2.5 in step 1 to 100 in step 2"));
    CHECK(has(page, "<dt>last loss</dt><dd>not finite</dd>"));
    CHECK(has(page, "<dt>test loss</dt><dd>not finite</dd>"));
    CHECK(count(page, "<path class=\"broken\"") == 1);
    CHECK_FALSE(has(page, "id=\"broken-losses\""));  // which would say it again
    CHECK_FALSE(has(page, "Nothing stands out"));
    // Before all numbers.
    CHECK(page.find("id=\"diverged\"") < page.find("class=\"tiles\""));
  }
  SECTION("by what the caller knows") {
    data.diverged = ls::divergence{.step = 1234, .finding = "F <1>.", .cause = "C.", .remedy = "R."};
    const std::string page = ls::report_html(data);
    CHECK(fault_of(page).empty());
    CHECK(has(page, "<h2>The training diverged in step 1,234</h2>\n<p>F &lt;1&gt;. C.</p>\n<p>R.</p>"));
  }
  SECTION("by growth") {
    data.losses = {1, 50};
    const std::string page = ls::report_html(data);
    CHECK(has(page, "<h2>The training diverged</h2>\n<p>The loss grew from 1 to 50."));
  }
}

TEST_CASE("a report names date, machine, compiler and version", "[report]") {
  const std::string page = ls::report_html(good_data());
  for (const char* name : {"date", "machine", "compiler", "lockstep"}) {
    INFO(name);
    const std::string before = std::string("<dt>") + name + "</dt><dd>";
    const auto at = page.find(before);
    REQUIRE(at != std::string::npos);
    CHECK(page.find("</dd>", at) > at + before.size() + 4);
  }
}

TEST_CASE("a report shows communication only where there was any", "[report]") {
  auto data = good_data();
  CHECK(has(ls::report_html(data), "communication"));
  data.times.communication = 0;
  const std::string page = ls::report_html(data);
  CHECK(fault_of(page).empty());
  CHECK_FALSE(has(page, "ommunication"));
  CHECK(count(page, "<title>computing 80.0 %</title>") == 2);
  data.times.replicas[1].communicate = 0.1;
  CHECK(has(ls::report_html(data), "communication"));
}

TEST_CASE("a number and its unit stay on one line of a report", "[report]") {
  using ls::detail::prose;
  CHECK(prose("took 45.7 % of 1.20 ms, 3 \u00B5s, 2 steps and 2.51 MiB.") ==
        "took 45.7\u00A0% of 1.20\u00A0ms, 3\u00A0\u00B5s, 2 steps and 2.51\u00A0MiB.");
  CHECK(prose("5 s") == "5\u00A0s");
  CHECK(prose("a % b, 5 states & 7 hosts, 5 ") == "a % b, 5 states &amp; 7 hosts, 5 ");
  auto data = good_data();
  data.loader_wait = 0.41;
  const std::string page = ls::report_html(data);
  const auto body = page.find("<section id=\"advice\"");
  CHECK(has(page.substr(body), "41.0\u00A0% of the training time"));
  CHECK(has(page.substr(body), "Shares of the 1.00\u00A0ms that were recorded"));
}

TEST_CASE("test losses are a line of their own in the chart", "[report]") {
  auto data = good_data();
  CHECK(count(ls::report_html(data), "<path class=\"line other dots\"") == 1);
  CHECK(has(ls::report_html(data), "<i class=\"other\"></i>test</span>"));
  data.test_losses = {{300, 7}};  // above all of the others: the chart makes room
  CHECK(has(ls::report_html(data), "aria-label=\"Loss: from 0.6266 to 7\""));
  data.test_losses.clear();
  CHECK_FALSE(has(ls::report_html(data), "<path class=\"line other"));
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

TEST_CASE("one accuracy makes no chart", "[report]") {
  auto data = good_data();
  data.accuracies = {0.5, no_number};
  CHECK_FALSE(has(ls::report_html(data), "id=\"accuracy\""));
  data.accuracies = {0.5, 0.25};
  CHECK(has(ls::report_html(data), "id=\"accuracy\""));
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
    data.test_losses.clear();
    const std::string page = ls::report_html(data);
    CHECK(fault_of(page).empty());
    CHECK_FALSE(has(page, "id=\"loss\""));
    CHECK(has(page, "not finite in 2 steps, first in step 1."));
    CHECK(has(page, "The training diverged in step 1"));
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
