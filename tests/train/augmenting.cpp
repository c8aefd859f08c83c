// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/synthetic.hpp>
#include <lockstep/data/table.hpp>
#include <lockstep/io/safetensors.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "train/program.hpp"

namespace {

namespace ls = lockstep;
using namespace lockstep_test;

log_lines train(const workplace& place, const std::string& arguments) {
  const outcome result = place.run(arguments + " --quiet --log log.jsonl");
  INFO(arguments << "\n" << result.err);
  REQUIRE(result.code == 0);
  REQUIRE(result.out.empty());
  REQUIRE(result.err.empty());
  return log_lines(place.read("log.jsonl"));
}

std::vector<double> numbers(const std::string& text) {
  std::vector<double> all;
  std::istringstream list(text);
  for (std::string one; std::getline(list, one, ',');) all.push_back(std::stod(one));
  return all;
}

}  // namespace

TEST_CASE("the number of replicas changes nothing of what --augment does") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const std::string command = "--model mlp --steps 12 --batch 40 --seed 3 --reduce reproducible ";
  const log_lines plain = train(place, command);
  const log_lines one = train(place, command + "--augment");
  CHECK(one.losses != plain.losses);
  CHECK(train(place, command + "--augment").losses == one.losses);
  for (const std::string replicas : {"2", "4", "8"}) {
    const log_lines many = train(place, command + "--augment --replicas " + replicas);
    CHECK(many.losses == one.losses);
    CHECK(many.test_losses == one.test_losses);
  }
  // The first parameters and the order of the samples stay; what is drawn for the pictures follows the epoch.
  const log_lines epochs = train(place, "--model mlp --batch 6400 --epochs 2 --no-shuffle --learning-rate 0 --augment");
  CHECK(epochs.losses[0] != epochs.losses[1]);
}

TEST_CASE("the test set is not augmented, and the first loss is about that of plain pictures") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const std::string command = "--model mlp --steps 1 --batch 6400 --learning-rate 0 ";
  const log_lines plain = train(place, command);
  const log_lines augmented = train(place, command + "--augment");
  CHECK(augmented.test_losses == plain.test_losses);
  CHECK(augmented.losses.front() != plain.losses.front());
  CHECK(augmented.losses.front() == Approx(plain.losses.front()).epsilon(0.05));
}

TEST_CASE("the flag --normalise normalises training and test pictures by the training set's channels") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  // A trained network tells normalised pictures from others better than one at its start.
  static_cast<void>(train(place, "--model mlp --steps 100 --optimizer adam --normalise --save trained.safetensors"));
  const std::string command =
      "--model mlp --steps 1 --no-shuffle --batch 100 --learning-rate 0 --init trained.safetensors ";
  const log_lines log = train(place, command + "--normalise --save model.safetensors");
  const log_lines plain = train(place, command);

  // Mean and deviation by their definition.
  const auto [train_set, test_set] = ls::data::synthetic();
  std::vector<double> mean(3);
  std::vector<double> deviation(3);
  const auto floats = ls::data::to_fields(train_set);
  const auto values = floats.values();
  const auto count = static_cast<double>(values.size() / 3);
  for (std::size_t i = 0; i < values.size(); ++i) mean[i / 1024 % 3] += double{values[i]} / count;
  for (std::size_t i = 0; i < values.size(); ++i)
    deviation[i / 1024 % 3] += std::pow(double{values[i]} - mean[i / 1024 % 3], 2) / count;
  for (double& d : deviation) d = std::sqrt(d);

  // The file notes both, and holds no tensor that PyTorch would not know.
  const auto file = ls::safetensors_file::read(place.path("model.safetensors").string());
  std::vector<double> noted_mean;
  std::vector<double> noted_deviation;
  for (const auto& [key, value] : file.metadata()) {
    if (key == "normalisation.mean") noted_mean = numbers(value);
    if (key == "normalisation.deviation") noted_deviation = numbers(value);
  }
  REQUIRE(noted_mean.size() == 3);
  REQUIRE(noted_deviation.size() == 3);
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(noted_mean[c] == Approx(mean[c]).epsilon(1e-6));
    CHECK(noted_deviation[c] == Approx(deviation[c]).epsilon(1e-6));
  }
  CHECK(place.run("--model mlp --steps 1 --normalise --init model.safetensors").out.find(", normalised by mean 0.49") !=
        std::string::npos);

  // The network in double on pictures that are normalised here.
  using mlp =
      ls::model<ls::sequential<ls::linear<3072, 512>, ls::relu, ls::linear<512, 256>, ls::relu, ls::linear<256, 10>>,
                ls::input<3072>, ls::cross_entropy>;
  ls::data_parallel<mlp, 1, ls::reference<double>> trainer{ls::sgd{}};
  ls::load_safetensors(trainer, place.path("model.safetensors").string());
  const auto loss = [&](const ls::data::dataset<ls::data::synthetic_sample>& of, std::int64_t samples) {
    ls::tensor<double, ls::shape<ls::dynamic, 3072>> inputs(samples);
    for (std::int64_t i = 0; i < samples * 3072; ++i) {
      const auto channel = static_cast<std::size_t>(i / 1024 % 3);
      inputs.data()[i] = (of.pixels()[static_cast<std::size_t>(i)] / 255.0 - mean[channel]) / deviation[channel];
    }
    return trainer.evaluate(inputs, of.labels().first(static_cast<std::size_t>(samples))).loss();
  };
  CHECK(log.losses.front() == Approx(loss(train_set, 100)).epsilon(1e-4));
  CHECK(log.test_losses.front() == Approx(loss(test_set, 1000)).epsilon(1e-4));
  CHECK(std::abs(plain.test_losses.front() - log.test_losses.front()) > 0.01);
}
