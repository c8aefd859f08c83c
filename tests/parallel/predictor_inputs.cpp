// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "parallel/predictor_support.hpp"
#include "parallel/two_inputs.hpp"
#include "support/queued_backend.hpp"

// A predictor of a model with several inputs: what it joins, cuts and pads are the samples of each of them.

using namespace lockstep_test;
using two_inputs::batch_of_both;
using two_inputs::model;

namespace {

template <class B, int N>
void check_answers() {
  INFO(B::name << ", " << N << " replicas");
  ls::data_parallel<model, 1> trainer;
  trainer.initialize(ls::seed{11});
  const ls::predictor<model, N, B> server(trainer, {.max_batch = 8, .latency = std::chrono::milliseconds{5}});
  const batch_of_both<float> b(200, 40);
  const auto expected = vector_of(trainer.forward(b.images()));
  const auto check = [&](std::int64_t first, std::int64_t count, const std::vector<float>& given) {
    const std::vector<float> wanted(expected.begin() + first * 3, expected.begin() + (first + count) * 3);
    CHECK(relative_difference(given, wanted) <= 1e-5);
  };

  // Alone: of whole batches, of several, and of none.
  for (const std::int64_t count : {1, 3, 8, 40}) {
    const batch_of_both<float> part = b.cut(0, count);
    check(0, count, vector_of(server.predict(part.images())));
  }
  CHECK(vector_of(server.predict(b.cut(0, 0).images())).empty());

  // Together with others, from many threads.
  constexpr std::int64_t each = 5;
  std::vector<std::vector<float>> answers(8);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < answers.size(); ++i)
    threads.emplace_back([&, i] {
      const batch_of_both<float> part = b.cut(static_cast<std::int64_t>(i) * each, each);
      answers[i] = vector_of(server.predict(part.images()));
    });
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 0; i < answers.size(); ++i) check(static_cast<std::int64_t>(i) * each, each, answers[i]);

  // Copies of samples that the caller no longer has.
  std::vector<std::future<typename ls::predictor<model, N, B>::output_tensor>> futures;
  for (std::int64_t i = 0; i < 8; ++i) {
    const batch_of_both<float> part = b.cut(i * each, each);
    futures.push_back(server.submit(part.images()));
  }
  for (std::int64_t i = 0; i < 8; ++i) check(i * each, each, vector_of(futures[static_cast<std::size_t>(i)].get()));
}

}  // namespace

TEST_CASE("a predictor answers requests of several inputs", "[predictor][inputs]") {
  check_answers<ls::cpu, 1>();
  check_answers<ls::cpu, 2>();
}

TEST_CASE("a predictor answers requests of several inputs on a backend that works later", "[predictor][inputs]") {
  check_answers<queued, 2>();
}

TEST_CASE("a predictor refuses inputs of different numbers of samples", "[predictor][inputs]") {
  const ls::predictor<model, 1> server;
  const batch_of_both<float> b(210, 4);
  const batch_of_both<float> fewer = b.cut(0, 3);
  const std::string expected =
      "lockstep: predictor: expected 4 samples of input words, as many as of input image, got 3";
  CHECK(message_of<ls::shape_error>([&] { static_cast<void>(server.predict(std::tie(b.image, fewer.words))); }) ==
        expected);
  CHECK(message_of<ls::shape_error>([&] { static_cast<void>(server.submit(std::tie(b.image, fewer.words))); }) ==
        expected);
}
