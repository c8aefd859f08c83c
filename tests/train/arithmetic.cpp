// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <string>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>

#include "train/program.hpp"

/// \file
/// What the program computes in: --precision bf16 on the CPU, and --convolution.

namespace arithmetic_test {

using namespace lockstep_test;

log_lines train(const workplace& place, const std::string& arguments) {
  const outcome result = place.run(arguments + " --quiet --log log.jsonl");
  INFO(arguments << "\n" << result.err);
  REQUIRE(result.code == 0);
  REQUIRE(result.err.empty());
  return log_lines(place.read("log.jsonl"));
}

void check_near(const log_lines& given, const log_lines& expected, double tolerance) {
  REQUIRE(given.losses.size() == expected.losses.size());
  for (std::size_t i = 0; i < given.losses.size(); ++i) {
    INFO("step " << i + 1);
    CHECK(given.losses[i] == Approx(expected.losses[i]).epsilon(tolerance));
  }
}

// Small rates: normalisation makes resnet20's gradients sensitive to rounding.
constexpr std::array<const char*, 3> runs{"cnn --steps 4 --batch 32 --learning-rate 0.01",
                                          "mlp --steps 4 --batch 32 --learning-rate 0.01",
                                          "resnet20 --steps 2 --batch 16 --learning-rate 0.001"};

TEST_CASE("on a processor without AVX512_BF16 bfloat16 is refused in one sentence") {
  LOCKSTEP_NEED_PROGRAM();
  if (lockstep::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has AVX512_BF16");
  const workplace place;
  for (const std::string run : runs) {
    INFO(run);
    const outcome result = place.run("--precision bf16 --save saved --model " + run);
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK(result.err ==
          "lockstep-train: --precision bf16 needs a processor with AVX512_BF16, and this machine has none; use "
          "--precision fp32\n");
    CHECK_FALSE(place.has("saved"));
  }
}

TEST_CASE("on a processor with AVX512_BF16 networks train in bfloat16 almost as in float32") {
  LOCKSTEP_NEED_PROGRAM();
  if (!lockstep::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  const workplace place;
  for (const std::string run : runs) {
    INFO(run);
    const std::string command = "--seed 3 --model " + run;
    const log_lines exact = train(place, command);
    const log_lines given = train(place, command + " --precision bf16");
    check_near(given, exact, 0.02);
    CHECK(given.losses != exact.losses);
    check_near(train(place, command + " --precision bf16 --replicas 2"), given, 0.02);
    const log_lines same = train(place, command + " --precision bf16 --reduce reproducible");
    CHECK(train(place, command + " --precision bf16 --reduce reproducible --replicas 2").losses == same.losses);
  }
}

TEST_CASE("the plan of a network in bfloat16 is printed on any processor") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  for (const std::string model : {"cnn", "mlp", "resnet20"}) {
    INFO(model);
    const outcome plan = place.run("--plan --precision bf16 --model " + model);
    CHECK(plan.code == 0);
    CHECK(plan.err.empty());
    CHECK(plan.out.find("backend cpu bf16, 1 replica\n") == 0);
  }
}

TEST_CASE("resnet20 trains alike by each algorithm of convolutions") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const std::string command = "--seed 3 --model resnet20 --steps 2 --batch 16 --learning-rate 0.01";
  const log_lines usual = train(place, command);
  CHECK(train(place, command + " --convolution f4").losses == usual.losses);
  for (const std::string algorithm : {"f2", "direct"}) {
    INFO(algorithm);
    const log_lines given = train(place, command + " --convolution " + algorithm);
    check_near(given, usual, 3e-5);
    if (lockstep::cpu_backend::has_avx2()) CHECK(given.losses != usual.losses);
    check_near(train(place, command + " --replicas 2 --convolution " + algorithm), given, 3e-5);
  }
}

}  // namespace arithmetic_test
