// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

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

/// Pictures in CIFAR-10's format, few enough that testing a large network takes no time: eight a file, of random bytes.
void write_pictures(const workplace& place, const std::string& folder) {
  place.make_folder(folder);
  std::mt19937 draw(1);
  for (const std::string part :
       {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"}) {
    std::string bytes;
    for (int picture = 0; picture < 8; ++picture) {
      bytes.push_back(static_cast<char>(draw() % 10));
      for (int i = 0; i < 3 * 32 * 32; ++i) bytes.push_back(static_cast<char>(draw() % 256));
    }
    place.write(folder + "/" + part + ".bin", bytes);
  }
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
  write_pictures(place, "colour");
  // Normalisation makes resnet20's gradients sensitive to rounding: what it changes in a step grows with the rate.
  struct run {
    std::string model;
    double tolerance;
  };
  for (const run& each : {run{"lenet --steps 4 --batch 32 --learning-rate 0.1", 1e-4},
                          run{"resnet20 --steps 2 --batch 16 --learning-rate 0.01", 3e-5},
                          run{"vit --data colour --steps 2 --batch 16 --learning-rate 0.01", 1e-5}}) {
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

TEST_CASE("the deep networks are saved under PyTorch's names and train on from there") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  write_pictures(place, "colour");
  struct network {
    std::string model;
    std::vector<std::string> names;
  };
  for (const network& each :
       {network{"resnet20",
                {"conv1.weight", "bn1.running_mean", "bn1.num_batches_tracked", "layer1.2.bn2.bias",
                 "layer2.0.downsample.0.weight", "layer3.2.conv2.weight", "fc.bias"}},
        network{"vit",
                {"patches.weight", "positions.weight", "layers.0.self_attn.in_proj_weight", "layers.1.norm2.bias",
                 "layers.2.linear2.weight", "norm.weight", "head.bias"}}}) {
    INFO(each.model);
    const std::string command =
        "--model " + each.model + " --data colour --no-shuffle --steps 1 --batch 8 --learning-rate 0 ";
    const log_lines first = train(place, command + "--save a.safetensors");
    const auto file = lockstep::safetensors_file::read(place.path("a.safetensors").string());
    for (const std::string& name : each.names) {
      INFO(name);
      CHECK(file.contains(name));
    }
    CHECK(train(place, command + "--seed 5").losses.front() != first.losses.front());
    CHECK(train(place, command + "--seed 5 --init a.safetensors").losses.front() == first.losses.front());
  }
}

TEST_CASE("vit starts with small positions, and its layers are tracks and tables like those of others") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  write_pictures(place, "colour");
  const log_lines log = train(place,
                              "--model vit --data colour --steps 3 --batch 8 --learning-rate 0 --replicas 2 "
                              "--save a.safetensors --trace times.json --report page.html");
  CHECK(log.losses.size() == 3);
  const auto positions =
      lockstep::safetensors_file::read(place.path("a.safetensors").string()).values_f64("positions.weight");
  REQUIRE(positions.size() == 64 * 192);
  double squares = 0;
  for (const double value : positions) squares += value * value;
  // The deviation of so many draws strays by 0.6 %, and three times as far is allowed.
  CHECK(std::sqrt(squares / static_cast<double>(positions.size())) == Approx(0.02).epsilon(0.019));
  CHECK(place.read("times.json").find("layers.2.self_attn forward") != std::string::npos);
  CHECK(place.read("page.html").find("layers.2.self_attn") != std::string::npos);
}
