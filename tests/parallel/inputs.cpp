// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "parallel/one_device.hpp"
#include "parallel/rank_support.hpp"
#include "parallel/two_inputs.hpp"
#include "support/queued_backend.hpp"

// Models with several inputs: a step of N replicas is the step of one device. Of 5 samples shards have different sizes,
// of 2 some are empty.

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;
using two_inputs::batch_of_both;
using two_inputs::model;

namespace {

/// A backend whose passes compute in other elements than the user's.
using narrow = ls::reference<double, float>;

template <class Model, class B, int N, class T = typename B::value_type>
step_result<T> on_replicas(const batch_of_both<T>& b) {
  ls::data_parallel<Model, N, B> trainer({.learning_rate = step_size});
  trainer.initialize(step_seed);
  step_result<T> result;
  result.loss = trainer.step(b.images(), b.targets);
  result.gradients = all_values(trainer.gradients());
  result.parameters = all_values(trainer.parameters());
  return result;
}

template <class Model, class B, int... Counts>
void check_steps() {
  std::uint64_t stream = 700;
  for (const std::int64_t samples : {5, 2, 37}) {
    const batch_of_both<typename B::value_type> b(stream += 10, samples);
    using one = std::conditional_t<B::host_memory, B, ls::cpu>;
    const auto expected = two_inputs::on_one_device<Model, one>(b);
    const auto check = [&]<int N> {
      INFO(B::name << ", " << samples << " samples, " << N << " replicas");
      check_same_step(on_replicas<Model, B, N>(b), expected);
    };
    (check.template operator()<Counts>(), ...);
  }
}

template <int N>
trained_bits reproducible_bits() {
  ls::data_parallel<model, N, ls::reduce::reproducible> trainer({.learning_rate = 0.05F, .momentum = 0.9F});
  trainer.initialize(step_seed);
  trained_bits bits;
  for (const std::int64_t samples : {64, 61, 5}) {
    const batch_of_both<float> b(static_cast<std::uint64_t>(samples), samples);
    bits.losses.push_back(trainer.step(b.images(), b.targets));
    bits.gradients = all_values(trainer.gradients());
    bits.evaluated = trainer.evaluate(b.images(), b.targets).loss_sum;
    const auto y = trainer.forward(b.images());
    bits.outputs.emplace_back(y.begin(), y.end());
  }
  bits.parameters = all_values(trainer.parameters());
  return bits;
}

template <class T, class Shape>
std::vector<T> vector_of(const ls::tensor<T, Shape>& t) {
  return {t.begin(), t.end()};
}

struct reading {
  std::span<const float> image;
  std::vector<float> words;
};

}  // namespace

TEST_CASE("inputs: a step of N replicas is the step of one device", "[inputs]") {
  check_steps<model, ls::cpu, 1, 2, 3, 4>();
  check_steps<model, ls::reference<double>, 2, 4>();
  check_steps<model, narrow, 3>();
}

TEST_CASE("inputs: a step of N replicas is the step of one device, on a backend that works later", "[inputs]") {
  check_steps<model, queued, 2, 3>();
}

TEST_CASE("inputs: statistics are those of the whole batch", "[inputs]") {
  check_steps<two_inputs::normalised, ls::cpu, 1, 3>();
  check_steps<two_inputs::normalised, ls::reference<double>, 4>();
}

TEST_CASE("inputs: ranks train as one process", "[inputs][ranks]") {
  constexpr ls::sgd momentum{.learning_rate = 0.0625F, .momentum = 0.9F};
  const std::vector<batch_of_both<float>> batches{{10, 61}, {20, 5}, {30, 16}};
  const std::vector<std::int64_t> first_parts{30, 0, 8};  // a rank with an empty batch too

  ls::data_parallel<model, 1> alone(momentum);
  alone.initialize(step_seed);
  std::vector<double> losses;
  for (const auto& whole : batches) losses.push_back(alone.step(whole.images(), whole.targets));
  const auto expected = all_values(alone.parameters());

  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const bool first = rank.rank() == 0;
    ls::data_parallel<model, 2, thread_rank, ls::bucket_bytes<256>> trainer(momentum, std::move(rank));
    trainer.initialize(step_seed);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const std::int64_t part = first_parts[i];
      const batch_of_both<float> own =
          first ? batches[i].cut(0, part) : batches[i].cut(part, batches[i].samples - part);
      expect(is_close(trainer.step(own.images(), own.targets), losses[i], {.relative = 1e-5}), "the loss");
    }
    trainer.join();
    expect_close(all_values(trainer.parameters()), expected);
  }));
}

TEST_CASE("inputs: the bits do not depend on the number of replicas under reduce::reproducible", "[inputs]") {
  const auto one = reproducible_bits<1>();
  check_same_bits(reproducible_bits<2>(), one);
  check_same_bits(reproducible_bits<4>(), one);
  check_same_bits(reproducible_bits<8>(), one);
}

TEST_CASE("inputs: outputs and evaluations are those of the samples one by one", "[inputs]") {
  const auto check = [&]<int N, class B> {
    ls::data_parallel<model, N, B> trainer;
    trainer.initialize(step_seed);
    for (const std::int64_t samples : {9, 2}) {
      INFO(B::name << ", " << samples << " samples, " << N << " replicas");
      const batch_of_both<float> b(90, samples);
      const auto y = trainer.forward(b.images());
      const auto whole = trainer.evaluate(b.images(), b.targets);
      ls::evaluation sum;
      for (std::int64_t s = 0; s < samples; ++s) {
        const batch_of_both<float> one = b.cut(s, 1);
        const auto own = trainer.forward(one.images());
        for (std::int64_t i = 0; i < 3; ++i) CHECK(own(0, i) == Approx(y(s, i)).epsilon(1e-5).margin(1e-6));
        sum += trainer.evaluate(one.images(), one.targets);
      }
      CHECK(whole.loss_sum == Approx(sum.loss_sum).epsilon(1e-5));
      CHECK(whole.correct == sum.correct);
      CHECK(whole.counted == samples);
    }
  };
  check.template operator()<1, ls::cpu>();
  check.template operator()<3, ls::cpu>();
  check.template operator()<4, ls::cpu>();
  check.template operator()<2, queued>();
}

TEST_CASE("inputs: accumulated batches are one batch", "[inputs]") {
  const batch_of_both<float> b(110, 12);
  const auto expected = two_inputs::on_one_device<model, ls::cpu>(b);
  ls::data_parallel<model, 2> trainer({.learning_rate = step_size});
  trainer.initialize(step_seed);
  const batch_of_both<float> first = b.cut(0, 5);
  const batch_of_both<float> second = b.cut(5, 7);
  trainer.accumulate(first.images(), first.targets, 12.0);
  trainer.step(second.images(), second.targets, 12.0);
  check_close(all_values(trainer.parameters()), expected.parameters);
}

TEST_CASE("inputs: a batch is a tuple, a pair or a struct of tensors, views or plain memory", "[inputs]") {
  using trainer_type = ls::data_parallel<model, 2>;
  trainer_type trainer;
  trainer.initialize(step_seed);
  const batch_of_both<float> b(120, 4);
  const auto expected = vector_of(trainer.forward(b.images()));
  const auto check = [&](const auto& images) { CHECK(vector_of(trainer.forward(images)) == expected); };

  ls::batch_of<float, 2, 4, 3> image(4);
  ls::batch_of<float, 7> words(4);
  std::copy(b.image.begin(), b.image.end(), image.data());
  std::copy(b.words.begin(), b.words.end(), words.data());
  check(std::tie(image, words));
  check(std::make_tuple(image.view(), words.view()));
  check(std::pair(std::span(b.image), b.words));
  check(reading{b.image, b.words});
  check(trainer_type::input_view(image.view(), words.view()));
  trainer_type::output_tensor into(4);
  trainer.forward({image.view(), words.view()}, into);
  CHECK(vector_of(into) == expected);
}

TEST_CASE("inputs: samples that do not fit are refused by the name of their input", "[inputs]") {
  ls::data_parallel<model, 2> trainer;
  const batch_of_both<float> b(130, 4);
  const std::vector<float> three(21);
  const std::vector<float> broken(20);
  CHECK(message_of<ls::shape_error>([&] { trainer.step(std::tie(b.image, three), b.targets); }) ==
        "lockstep: data_parallel: expected 4 samples of input words, as many as of input image, got 3");
  CHECK(message_of<ls::shape_error>([&] { trainer.step(std::tie(b.image, broken), b.targets); }) ==
        "lockstep: input words: expected 7 values a sample (7), got 20 values: 2 samples and 6 over");
}
