// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <string>

#include <lockstep/io/safetensors.hpp>

#include "train/program.hpp"

namespace {

using namespace lockstep_test;

log_lines train(const workplace& place, const std::string& arguments) {
  const outcome result = place.run(arguments + " --quiet --log log.jsonl");
  INFO(arguments << "\n" << result.err);
  REQUIRE(result.code == 0);
  REQUIRE(result.err.empty());
  return log_lines(place.read("log.jsonl"));
}

}  // namespace

TEST_CASE("lenet learns synthetic pictures in grey") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const log_lines log = train(place, "--model lenet --epochs 3 --optimizer adam --normalise --replicas 3");
  REQUIRE(log.accuracies.size() == 3);
  CHECK(log.accuracies.back() > 0.9);  // a guess is right in a tenth of all cases
}

TEST_CASE("the deep networks train alike on any number of replicas") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  // Normalisation makes resnet20's gradients sensitive to rounding: what it changes in a step grows with the rate.
  struct run {
    std::string model;
    double tolerance;
  };
  for (const run& each : {run{"lenet --steps 4 --batch 32 --learning-rate 0.1", 1e-4},
                          run{"resnet20 --steps 2 --batch 16 --learning-rate 0.01", 3e-5}}) {
    INFO(each.model);
    const std::string command = "--model " + each.model + " --augment --normalise --momentum 0.9 --seed 3";
    const log_lines one = train(place, command);
    const log_lines four = train(place, command + " --replicas 4");
    for (std::size_t i = 0; i < one.losses.size(); ++i)
      CHECK(four.losses[i] == Approx(one.losses[i]).epsilon(each.tolerance));
    const log_lines exact = train(place, command + " --reduce reproducible");
    CHECK(train(place, command + " --reduce reproducible --replicas 2").losses == exact.losses);
    CHECK(train(place, command + " --reduce reproducible --replicas 4").losses == exact.losses);
  }
}

TEST_CASE("resnet20 is saved under torchvision's names and trains on from there") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const log_lines first = train(place, "--model resnet20 --steps 1 --batch 8 --learning-rate 0 --save a.safetensors");
  const auto file = lockstep::safetensors_file::read(place.path("a.safetensors").string());
  for (const std::string name : {"conv1.weight", "bn1.running_mean", "bn1.num_batches_tracked", "layer1.2.bn2.bias",
                                 "layer2.0.downsample.0.weight", "layer3.2.conv2.weight", "fc.bias"}) {
    INFO(name);
    CHECK(file.contains(name));
  }
  const log_lines second =
      train(place, "--model resnet20 --steps 1 --batch 8 --learning-rate 0 --seed 0 --init a.safetensors");
  CHECK(second.losses.front() == first.losses.front());
}
