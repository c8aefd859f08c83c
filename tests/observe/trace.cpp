// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/trace.hpp>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <rapidjson/document.h>

#include <lockstep/lockstep.hpp>

#include "io/io_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using lockstep_test::slurp;
using lockstep_test::temporary_folder;
using ls::activity;

using small = ls::model<ls::sequential<ls::named<"conv1", ls::conv2d<4, 3>>, ls::relu, ls::flatten, ls::linear<10>>,
                        ls::input<2, 6, 6>, ls::cross_entropy>;

constexpr std::int64_t start = 5'000'000'123;

rapidjson::Document parsed(const std::string& text) {
  rapidjson::Document document;
  document.Parse(text.data(), text.size());
  REQUIRE_FALSE(document.HasParseError());
  REQUIRE(document.IsObject());
  REQUIRE(document["traceEvents"].IsArray());
  return document;
}

template <class Model = small>
rapidjson::Document traced(const ls::timeline& t, const ls::trace_options& options = {}) {
  const temporary_folder folder;
  const std::string file = folder / "trace.json";
  ls::write_trace<Model, ls::cpu>(file, t, options);
  return parsed(slurp(file));
}

struct span {
  std::string name;
  double begin = 0;
  double length = 0;
  const rapidjson::Value* arguments = nullptr;
};

std::map<int, std::vector<span>> spans(const rapidjson::Document& trace) {
  std::map<int, std::vector<span>> all;
  for (const auto& event : trace["traceEvents"].GetArray()) {
    if (std::string_view(event["ph"].GetString()) != "X") continue;
    all[event["tid"].GetInt()].push_back(
        {event["name"].GetString(), event["ts"].GetDouble(), event["dur"].GetDouble(), &event["args"]});
  }
  return all;
}

/// The names of the tracks by their numbers.
std::map<int, std::string> tracks(const rapidjson::Document& trace) {
  std::map<int, std::string> all;
  for (const auto& event : trace["traceEvents"].GetArray())
    if (std::string_view(event["name"].GetString()) == "thread_name")
      all[event["tid"].GetInt()] = event["args"]["name"].GetString();
  return all;
}

ls::timeline_event event(std::int64_t begin, std::int64_t end, activity what, int index = -1, int step = 0) {
  return {.begin = start + begin,
          .end = start + end,
          .step = step,
          .index = static_cast<std::int16_t>(index),
          .what = what};
}

int node_named(std::string_view name) {
  const auto rows = ls::plan_rows<small, ls::cpu>();
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].name() == name) return static_cast<int>(i);
  return -1;
}

}  // namespace

TEST_CASE("a trace has a named track for each replica and for the communication") {
  ls::timeline t(3, 4);
  t.record(0, event(0, 10, activity::forward, 0));
  t.record(1, event(0, 10, activity::forward, 0));
  t.record(2, event(5, 9, activity::communicate, 2));
  const auto names = tracks(traced(t));
  REQUIRE(names.size() == 3);
  auto name = names.begin();
  CHECK((name++)->second == "replica 0");
  CHECK((name++)->second == "replica 1");
  CHECK((name++)->second == "communication");
  CHECK(tracks(traced(t, {.replicas = 3})).rbegin()->second == "replica 2");
  CHECK(traced(t)["otherData"]["replicas"].GetInt() == 2);
}

TEST_CASE("events of a trace have names, times and numbers") {
  const int conv = node_named("conv1");
  const int linear = node_named("3");
  REQUIRE(conv >= 0);
  REQUIRE(linear >= 0);
  ls::timeline t(2, 16);
  t.record(0, event(0, 1'234, activity::forward, conv, 41));
  t.record(0, event(2'000, 3'000, activity::forward, linear, 41));
  t.record(0, event(3'000, 3'001, activity::loss, -1, 41));
  t.record(0, event(4'000, 1'000'004'000, activity::backward, linear, 41));
  t.record(0, event(1'000'004'000, 1'000'004'007, activity::fold, -1, 41));
  t.record(0, event(1'000'005'000, 1'000'006'000, activity::wait, -1, 41));
  t.record(0, event(1'000'006'000, 1'000'007'000, activity::update, -1, 41));
  t.record(0, event(1'000'008'000, 1'000'009'000, activity::forward, 99, 42));  // no such node
  t.record(1, event(500, 700, activity::communicate, 1, 41));
  t.record(1, event(800, 900, activity::communicate, 7, 41));
  const auto trace = traced(t, {.bucket_bytes = {4, 4'096}});
  const auto all = spans(trace);
  REQUIRE(all.size() == 2);
  const auto& first = all.begin()->second;
  REQUIRE(first.size() == 8);
  const std::vector<std::string> names{"conv1 forward", "3 forward", "loss",   "3 backward",
                                       "fold",          "wait",      "update", "node 99 forward"};
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(first[i].name == names[i]);
  CHECK(first[0].begin == 0);
  CHECK(first[0].length == 1.234);
  CHECK(first[2].begin == 3);
  CHECK(first[2].length == 0.001);
  CHECK(first[3].length == 1'000'000);
  CHECK(first[4].length == 0.007);
  for (std::size_t i = 0; i < 8; ++i) CHECK((*first[i].arguments)["step"].GetInt() == (i < 7 ? 41 : 42));
  CHECK((*first[0].arguments)["parameter_bytes"].GetInt() == 4 * 76);
  CHECK((*first[1].arguments)["flops_per_sample"].GetInt() == 2 * 64 * 10);
  CHECK((*first[3].arguments)["flops_per_sample"].GetInt() == 2 * 2 * 64 * 10);
  CHECK_FALSE(first[5].arguments->HasMember("flops_per_sample"));
  const auto& second = all.rbegin()->second;
  REQUIRE(second.size() == 2);
  CHECK(second[0].name == "bucket 1");
  CHECK(second[0].begin == 0.5);
  CHECK((*second[0].arguments)["bytes"].GetInt() == 4'096);
  CHECK(second[1].name == "bucket 7");
  CHECK_FALSE(second[1].arguments->HasMember("bytes"));
}

TEST_CASE("events of a track come in order and lie beside or inside each other") {
  ls::timeline t(2, 4'000);
  std::int64_t now = 0;
  // Enough to be written in several pieces; each step is recorded after what it encloses.
  for (int step = 0; step < 1'000; ++step) {
    const std::int64_t begin = now;
    for (const int length : {7, 1'300}) {
      t.record(0, event(now, now + length, activity::forward, 0, step));
      now += length;
    }
    t.record(0, event(begin, now, activity::update, -1, step));
    t.record(1, event(begin + 3, begin + 400, activity::wait, -1, step));
    now += step % 3;
  }
  const auto trace = traced(t);
  const auto all = spans(trace);
  REQUIRE(all.size() == 2);
  CHECK(all.begin()->second.size() == 3'000);
  int wrong = 0;
  for (const auto& [track, events] : all) {
    std::vector<double> open;  // ends of the events around the next one
    double last = 0;
    for (const auto& one : events) {
      constexpr double rounding = 1e-6;
      if (one.begin < last) ++wrong;
      last = one.begin;
      while (!open.empty() && open.back() <= one.begin + rounding) open.pop_back();
      if (!open.empty() && one.begin + one.length > open.back() + rounding) ++wrong;
      open.push_back(one.begin + one.length);
    }
  }
  CHECK(wrong == 0);
  // The enclosing event comes first.
  CHECK(all.begin()->second[0].name == "update");
}

TEST_CASE("a trace says what was dropped, in its metadata and on the track") {
  ls::timeline t(2, 2);
  for (int i = 0; i < 5; ++i) t.record(1, event(10 * i, 10 * i + 10, activity::forward, 0));
  t.record(0, event(0, 1, activity::forward, 0));
  const auto trace = traced(t);
  CHECK(trace["otherData"]["dropped_events"].GetInt() == 3);
  CHECK(trace["otherData"]["dropped_events of replica 1"].GetInt() == 3);
  CHECK_FALSE(trace["otherData"].HasMember("dropped_events of replica 0"));
  int marks = 0;
  for (const auto& one : trace["traceEvents"].GetArray()) {
    if (std::string_view(one["ph"].GetString()) != "i") continue;
    ++marks;
    CHECK(one["tid"].GetInt() == 2);
    CHECK(one["ts"].GetDouble() == 0.02);
    CHECK(one["args"]["dropped"].GetInt() == 3);
  }
  CHECK(marks == 1);
}

TEST_CASE("a mark of dropped events stands at the end of all that the track holds") {
  ls::timeline t(1, 2);
  t.record(0, event(30, 40, activity::forward, 0));
  t.record(0, event(0, 100, activity::update));  // encloses the other
  t.record(0, event(100, 110, activity::forward, 0));
  const auto trace = traced(t);
  int marks = 0;
  for (const auto& one : trace["traceEvents"].GetArray()) {
    if (std::string_view(one["ph"].GetString()) != "i") continue;
    ++marks;
    CHECK(one["ts"].GetDouble() == 0.1);
  }
  CHECK(marks == 1);
}

TEST_CASE("text in a trace is escaped") {
  using odd = ls::model<ls::named<"a\"b\\c\n<\x01>", ls::linear<3, 2>>, ls::input<3>, ls::mean_squared_error>;
  ls::timeline t(1, 2);
  t.record(0, event(0, 1, activity::forward, 0));
  const auto trace = traced<odd>(t, {.process = "run \"1\"\t\x1f"});
  CHECK(spans(trace).begin()->second.at(0).name == "a\"b\\c\n<\x01> forward");
  CHECK(std::string(trace["traceEvents"][0]["args"]["name"].GetString()) == "run \"1\"\t\x1f");
}

TEST_CASE("a trace of nothing is a trace") {
  const auto trace = traced(ls::timeline(2, 1));
  CHECK(spans(trace).empty());
  CHECK(tracks(trace).size() == 2);
}

TEST_CASE("a trace is written whole or not at all") {
  const temporary_folder folder;
  ls::timeline t(2, 1);
  CHECK_THROWS_AS((ls::write_trace<small, ls::cpu>(folder / "none/trace.json", t)), ls::io_error);
  CHECK_THROWS_AS((ls::write_trace<small, ls::cpu>(folder / "trace.json", t, {.replicas = 3})), ls::value_error);
  CHECK(folder.file_count() == 0);
}
