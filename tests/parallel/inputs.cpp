// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "parallel/one_device.hpp"
#include "support/queued_backend.hpp"

// Models with several inputs: a step of N replicas is the step of one device. Of 5 samples shards have different sizes,
// of 2 some are empty.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using picture_branch = ls::sequential<ls::from<"image">, ls::conv2d<4, 3, ls::padding<1>>, ls::relu, ls::flatten>;
using word_branch = ls::from<"words", ls::sequential<ls::linear<6>, ls::relu>>;
using net = ls::sequential<ls::concat<ls::named<"picture", picture_branch>, ls::named<"text", word_branch>>,
                           ls::linear<5>, ls::relu, ls::concat<ls::identity, ls::from<"words">>, ls::linear<3>>;
using two = ls::inputs<ls::named<"image", ls::input<2, 4, 3>>, ls::named<"words", ls::input<7>>>;
using model = ls::model<net, two, ls::cross_entropy>;

/// A batch of both inputs.
template <class T>
struct drawn {
  explicit drawn(std::uint64_t stream, std::int64_t count)
      : samples(count),
        image(draws<T>(stream, count * model::input_extents[0].size())),
        words(draws<T>(stream + 1, count * model::input_extents[1].size())),
        targets(class_draws(stream + 2, count, 3)) {}

  std::int64_t samples;
  std::vector<T> image, words;
  std::vector<std::int64_t> targets;
};

template <class B, class T = typename B::value_type>
step_result<T> on_one_device(const drawn<T>& b) {
  constexpr std::int64_t count = model::parameter_count;
  ls::aligned_buffer<T> parameters(count);
  ls::aligned_buffer<T> gradients(count);
  ls::initialize_parameters<model, B>(parameters.data(), step_seed);
  ls::executor<model, B> device;
  const auto denominator = static_cast<double>(b.samples);
  const double sum =
      device.train(parameters.data(), gradients.data(), {{b.image.data(), b.words.data()}}, b.targets.data(), b.samples,
                   ls::step_values{.scale = 1 / denominator, .seed = step_seed.value});
  using range = ls::named_values_range<model, B, 1, false>;
  step_result<T> result{.loss = sum / denominator, .gradients = {}, .parameters = {}};
  result.gradients = all_values(range({gradients.data()}));
  for (std::int64_t i = 0; i < count; ++i) parameters.data()[i] -= static_cast<T>(step_size) * gradients.data()[i];
  result.parameters = all_values(range({parameters.data()}));
  return result;
}

template <class B, int N, class T = typename B::value_type>
step_result<T> on_replicas(const drawn<T>& b) {
  ls::data_parallel<model, N, B> trainer({.learning_rate = step_size});
  trainer.initialize(step_seed);
  step_result<T> result;
  result.loss = trainer.step(std::tie(b.image, b.words), b.targets);
  result.gradients = all_values(trainer.gradients());
  result.parameters = all_values(trainer.parameters());
  return result;
}

template <class B, int... Counts>
void check_steps() {
  std::uint64_t stream = 700;
  for (const std::int64_t samples : {5, 2, 37}) {
    const drawn<typename B::value_type> b(stream += 10, samples);
    using one = std::conditional_t<B::host_memory, B, ls::cpu>;
    const auto expected = on_one_device<one>(b);
    const auto check = [&]<int N> {
      INFO(B::name << ", " << samples << " samples, " << N << " replicas");
      check_same_step(on_replicas<B, N>(b), expected);
    };
    (check.template operator()<Counts>(), ...);
  }
}

}  // namespace

TEST_CASE("inputs: a step of N replicas is the step of one device", "[inputs]") {
  check_steps<ls::cpu, 1, 2, 3, 4>();
  check_steps<ls::reference<double>, 2, 4>();
  check_steps<queued, 2, 3>();
}
