// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <string>

#include "train/program.hpp"

namespace {

using namespace lockstep_test;

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Parameters of the model linear, as a file, whose last element is not a number.
std::string broken_parameters(const workplace& place) {
  REQUIRE(place.run("--model linear --steps 1 --quiet --save whole.safetensors").code == 0);
  std::string bytes = place.read("whole.safetensors");
  bytes.replace(bytes.size() - 4, 4, std::string("\x00\x00\xc0\x7f", 4));
  return bytes;
}

}  // namespace

TEST_CASE("a loss that is not finite ends the run with exit code 3") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  place.write("trained", "what was there before");
  const outcome result = place.run(
      "--model linear --steps 60 --learning-rate 1e6 --log log.jsonl --report run.html --trace times.json --save "
      "trained");
  INFO(result.err);
  REQUIRE(result.code == 3);
  CHECK(result.error_lines() == 1);
  CHECK(result.err.rfind("lockstep-train: The loss is ", 0) == 0);
  CHECK(holds(result.err, "the learning rate of 1e+06 is too high"));
  CHECK(holds(result.err, "Try a learning rate of 0.1 or less"));
  CHECK(holds(result.err, "--keep-going"));
  CHECK(holds(result.err, "trained is not written"));
  CHECK(holds(result.out, "ended early: "));

  // The step that is told is the last of the log, and the only one without a number.
  const log_lines log(place.read("log.jsonl"));
  REQUIRE(log.losses.size() > 1);
  CHECK(holds(result.err, " in step " + std::to_string(log.losses.size()) + "."));
  CHECK(std::isnan(log.losses.back()));
  for (std::size_t i = 0; i + 1 < log.losses.size(); ++i) CHECK(std::isfinite(log.losses[i]));
  CHECK(log.test_losses.size() >= 1);

  const std::string page = place.read("run.html");
  CHECK(holds(page, "<h2>The training diverged in step " + std::to_string(log.losses.size()) + "</h2>"));
  CHECK(holds(page, "</html>"));
  rapidjson::Document times;
  times.Parse(place.read("times.json").c_str());
  CHECK(times.IsObject());
  CHECK(place.read("trained") == "what was there before");
}

TEST_CASE("the flag --keep-going trains on after a loss that is not finite") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result =
      place.run("--model linear --steps 60 --learning-rate 1e6 --quiet --log log.jsonl --save trained --keep-going");
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.error_lines() == 1);
  CHECK_FALSE(holds(result.err, "ends the run"));
  const log_lines log(place.read("log.jsonl"));
  REQUIRE(log.losses.size() == 60);
  CHECK(std::isfinite(log.losses.front()));
  CHECK(std::isnan(log.losses.back()));
  CHECK(place.has("trained"));
}

TEST_CASE("first parameters that are not finite are named as the cause") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  place.write("broken.safetensors", broken_parameters(place));
  const outcome result = place.run("--model linear --steps 20 --quiet --init broken.safetensors");
  CHECK(result.code == 3);
  CHECK(result.out.empty());
  CHECK(result.err ==
        "lockstep-train: The loss is not a number in step 1. The parameters in broken.safetensors are not all finite. "
        "Begin with other parameters. This ends the run (--keep-going goes on).\n");
}

TEST_CASE("a test loss that alone is not finite ends the run too") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result =
      place.run("--model linear --steps 1 --learning-rate 1e38 --weight-decay 1000 --quiet --save trained");
  INFO(result.err);
  CHECK(result.code == 3);
  CHECK(holds(result.err, "lockstep-train: The test loss is "));
  CHECK(holds(result.err, " after step 1."));
  CHECK_FALSE(place.has("trained"));
}

TEST_CASE("the help tells of exit codes") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome help = place.run("--help");
  CHECK(help.code == 0);
  CHECK(holds(help.out, "--keep-going"));
  CHECK(holds(help.out, "Exit codes: 0 done; 1 failed; 2 bad input; 3 the loss was not finite"));
}
