// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <string>

#include "train/program.hpp"

namespace {

using namespace lockstep_test;

log_lines train(const workplace& place, const std::string& arguments) {
  const outcome result = place.run(arguments + " --quiet --log log.jsonl");
  INFO(arguments << "\n" << result.err);
  REQUIRE(result.code == 0);
  REQUIRE(result.out.empty());
  REQUIRE(result.err.empty());
  return log_lines(place.read("log.jsonl"));
}

/// An IDX file: type unsigned byte, extents, then `count` bytes that follow from their position.
std::string idx_file(const std::vector<std::uint32_t>& extents, std::size_t count, unsigned bound) {
  std::string file{'\0', '\0', '\x08', static_cast<char>(extents.size())};
  for (const std::uint32_t extent : extents)
    for (int shift = 24; shift >= 0; shift -= 8) file += static_cast<char>(extent >> shift & 0xffU);
  for (std::size_t i = 0; i < count; ++i) file += static_cast<char>(i * 7 % bound);
  return file;
}

}  // namespace

TEST_CASE("linear prints the shape of the gathered output once") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result = place.run("--model linear --epochs 2 --replicas 3");
  REQUIRE(result.code == 0);
  CHECK(result.err.empty());
  const auto at = result.out.find("output shape (100, 10)\n");
  REQUIRE(at != std::string::npos);
  CHECK(result.out.find("output shape", at + 1) == std::string::npos);
  CHECK(result.out.find("\nepoch 1/2 ") != std::string::npos);
  CHECK(result.out.find("\nepoch 2/2 ") != std::string::npos);
  CHECK(result.out.find("\nfinished: 20 steps ") != std::string::npos);
  CHECK(result.out.find("samples/s") != std::string::npos);
}

TEST_CASE("a regression learns and has no accuracy") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const log_lines log = train(place, "--model linear --epochs 30 --learning-rate 1");
  REQUIRE(log.losses.size() == 300);
  REQUIRE(log.test_losses.size() == 30);
  CHECK(std::isnan(log.accuracies.front()));
  CHECK(log.test_losses.back() < 0.05 * log.test_losses.front());
}

TEST_CASE("the flag --steps counts steps across epochs") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const log_lines log = train(place, "--model linear --batch 300 --steps 10");  // 4 batches an epoch
  CHECK(log.losses.size() == 10);
  CHECK(log.accuracies.size() == 3);
}

TEST_CASE("an untrained classifier's loss is near ln 10, and its log is valid") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const log_lines log = train(place, "--model cnn --steps 4 --batch 32 --learning-rate 0");
  REQUIRE(log.losses.size() == 4);
  REQUIRE(log.accuracies.size() == 1);
  CHECK(log.losses.front() == Approx(std::log(10.0)).margin(0.1));
  CHECK(log.accuracies.front() >= 0);
  CHECK(log.accuracies.front() <= 1);
}

TEST_CASE("the number of replicas does not change the result") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  for (const std::string model : {"linear --steps 25", "mlp --steps 8 --batch 50", "cnn --steps 4 --batch 30"}) {
    INFO(model);
    const log_lines one = train(place, "--model " + model + " --momentum 0.9 --seed 3");
    for (const std::string replicas : {"2", "3"}) {
      const log_lines many = train(place, "--model " + model + " --momentum 0.9 --seed 3 --replicas " + replicas);
      REQUIRE(many.losses.size() == one.losses.size());
      for (std::size_t i = 0; i < one.losses.size(); ++i) {
        INFO("step " << i + 1);
        CHECK(many.losses[i] == Approx(one.losses[i]).epsilon(1e-5));
      }
      CHECK(many.test_losses.back() == Approx(one.test_losses.back()).epsilon(1e-5));
    }
    CHECK(one.losses.front() != one.losses.back());
  }
}

TEST_CASE("the seed keys parameters and order, and is all that does") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const std::string command = "--model linear --steps 12 --seed ";
  const log_lines first = train(place, command + "7");
  CHECK(train(place, command + "7").losses == first.losses);
  CHECK(train(place, command + "8").losses != first.losses);
  CHECK(train(place, command + "7 --no-shuffle").losses != first.losses);
}

TEST_CASE("training goes on from a saved file") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  for (const std::string model : {"linear", "mlp", "cnn"}) {
    INFO(model);
    // One batch an epoch, so that the run cut in two sees the batches of the whole one.
    const std::string command =
        "--no-shuffle --model " + model + (model == "linear" ? " --batch 1000" : " --batch 6400");
    const log_lines whole = train(place, command + " --steps 2");
    const log_lines head = train(place, command + " --steps 1 --save half.safetensors");
    REQUIRE(place.has("half.safetensors"));
    const log_lines tail = train(place, command + " --steps 1 --seed 99 --init half.safetensors");
    CHECK(head.losses.front() == whole.losses.front());
    CHECK(tail.losses.front() == whole.losses.back());
    CHECK(tail.test_losses.back() == whole.test_losses.back());
  }
}

TEST_CASE("IDX pictures are recognised and trained") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  place.make_folder("digits");
  for (const std::string part : {"train", "t10k"}) {
    place.write("digits/" + part + "-images-idx3-ubyte", idx_file({20, 28, 28}, std::size_t{20} * 28 * 28, 251));
    place.write("digits/" + part + "-labels-idx1-ubyte", idx_file({20}, 20, 10));
  }
  for (const std::string model : {"mlp", "cnn"}) {
    INFO(model);
    const log_lines log = train(place, "--model " + model + " --data digits --batch 8 --epochs 2 --replicas 2");
    CHECK(log.losses.size() == 6);
    CHECK(log.losses.front() == Approx(std::log(10.0)).margin(0.5));
  }
  CHECK(place.run("--model cnn --data digits --plan").out.find("1x28x28 -> 64x28x28") != std::string::npos);
  CHECK(place.run("--model mlp --data digits --plan").out.find("784 -> 512") != std::string::npos);
}

TEST_CASE("every optimizer and every schedule trains") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  for (const std::string optimizer :
       {"sgd --learning-rate 1", "adam --learning-rate 0.05", "adamw --learning-rate 0.05"})
    for (const std::string schedule : {"constant", "step", "cosine", "one-cycle"}) {
      const std::string warmup = schedule == "one-cycle" ? "" : " --warmup 10";
      INFO(optimizer << " " << schedule);
      const log_lines log =
          train(place, "--model linear --epochs 20 --optimizer " + optimizer + " --schedule " + schedule + warmup);
      REQUIRE(log.losses.size() == 200);
      CHECK(log.test_losses.back() < 0.3 * log.losses.front());
    }
}

TEST_CASE("a warm-up of the learning rate begins with a part of it") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  // The first of 9 steps has a tenth of the rate, and so the second loss shows a tenth of the fall.
  const log_lines whole = train(place, "--model linear --steps 10 --no-shuffle --batch 1000 --learning-rate 0.01");
  const log_lines warm =
      train(place, "--model linear --steps 10 --no-shuffle --batch 1000 --learning-rate 0.01 --warmup 9");
  CHECK(warm.losses[0] == whole.losses[0]);
  CHECK(warm.losses[0] - warm.losses[1] == Approx(0.1 * (whole.losses[0] - whole.losses[1])).epsilon(0.01));
}
