// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "train/program.hpp"

namespace {

using namespace lockstep_test;

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("reproducible reduction trains to the same file on any number of replicas") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const auto trained = [&](const std::string& arguments) {
    const outcome result =
        place.run("--model mlp --steps 12 --momentum 0.9 --max-norm 1 --quiet --save trained " + arguments);
    INFO(arguments << ": " << result.err);
    REQUIRE(result.code == 0);
    return place.read("trained");
  };
  const std::string one = trained("--reduce reproducible");
  for (const char* replicas : {"2", "4", "8"})
    CHECK(trained(std::string("--reduce reproducible --replicas ") + replicas) == one);
  // The clipping bound and the seed do enter.
  CHECK(trained("--reduce reproducible --seed 1") != one);
}

TEST_CASE("a trace holds the recorded steps, a track a replica") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result = place.run("--model cnn --replicas 2 --batch 16 --steps 4 --quiet --trace times.json");
  INFO(result.err);
  REQUIRE(result.code == 0);
  rapidjson::Document document;
  document.Parse(place.read("times.json").c_str());
  REQUIRE(document.IsObject());
  std::array<int, 2> forwards{}, updates{};
  int first_step = 100;
  for (const auto& event : document["traceEvents"].GetArray()) {
    if (std::string(event["ph"].GetString()) != "X") continue;
    const auto track = static_cast<std::size_t>(event["tid"].GetInt() - 1);
    REQUIRE(track < 2);
    forwards[track] += std::string(event["name"].GetString()) == "conv1 forward" ? 1 : 0;
    updates[track] += std::string(event["cat"].GetString()) == "update" ? 1 : 0;
    first_step = std::min(first_step, event["args"]["step"].GetInt());
  }
  // The first step, which prepares, is not shown.
  CHECK(first_step == 1);
  for (const std::size_t track : {0U, 1U}) {
    CHECK(forwards[track] >= 3);
    CHECK(updates[track] == 3);
  }
}

TEST_CASE("a report is one page about the run") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result = place.run(
      "--model cnn --replicas 2 --batch 32 --steps 6 --seed 5 --reduce reproducible --quiet --report run.html");
  INFO(result.err);
  REQUIRE(result.code == 0);
  const std::string page = place.read("run.html");
  CHECK(holds(page, "lockstep-train: cnn"));
  CHECK(holds(page, "657,162"));
  CHECK(holds(page, "reproducible"));
  CHECK(holds(page, "replica 1"));
  CHECK(holds(page, "conv2d+relu"));
  CHECK(holds(page, "</html>"));
}

TEST_CASE("a plan shows the buckets of the gradients") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result = place.run("--model cnn --plan");
  REQUIRE(result.code == 0);
  CHECK(holds(result.out, "\n0        655,370  2,621,480  1,792                 3         26 %\n"));
  CHECK(holds(result.out, "\n1          1,792      7,168      0                 1        100 %\n"));
}
