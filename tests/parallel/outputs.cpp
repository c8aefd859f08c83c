// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/parallel/predictor.hpp>

#include "parallel/branch_networks.hpp"
#include "parallel/one_device.hpp"
#include "parallel/rank_support.hpp"

// Models with several outputs and a loss for each, on replicas and on ranks.

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using class_head = ls::named<"class", ls::sequential<ls::flatten, ls::linear<5>>>;
using box_head =
    ls::named<"box", ls::sequential<ls::max_pool2d<2>, ls::flatten, ls::linear<6>, ls::relu, ls::linear<4>>>;
using mask_head = ls::named<"mask", ls::conv2d<1, 3, ls::padding<1>>>;
/// In another order than the outputs.
using detector_losses = ls::losses<ls::weighted<0.5, ls::named<"mask", ls::mean_squared_error>>,
                                   ls::named<"class", ls::cross_entropy>, ls::named<"box", ls::mean_squared_error>>;
template <class Trunk>
using detector_of =
    ls::model<ls::sequential<Trunk, ls::outputs<class_head, box_head, mask_head>>, ls::input<2, 6, 6>, detector_losses>;
using detector = detector_of<ls::sequential<padded_conv<4>, ls::relu>>;
/// Several segments.
using normalised_detector =
    detector_of<ls::sequential<ls::conv2d<4, 3, ls::padding<1>, ls::no_bias>, ls::batch_norm2d<>, ls::relu>>;

constexpr std::array<double, 3> weights{1, 1, 0.5};

template <class T>
struct drawn_batch {
  std::vector<T> x;
  std::vector<std::int64_t> classes;
  std::vector<T> boxes, masks;

  [[nodiscard]] std::int64_t samples() const { return static_cast<std::int64_t>(classes.size()); }
  [[nodiscard]] auto targets() const { return std::tie(classes, boxes, masks); }
  /// Counted by hand: kept classes, and values.
  [[nodiscard]] std::array<double, 3> denominators() const {
    double kept = 0;
    for (const std::int64_t c : classes) kept += c == -100 ? 0 : 1;
    return {kept, static_cast<double>(boxes.size()), static_cast<double>(masks.size())};
  }
};

/// Every fifth class is ignored.
template <class T = float>
drawn_batch<T> drawn_for(std::uint64_t stream, std::int64_t samples) {
  drawn_batch<T> b{draws<T>(stream, samples * 72), class_draws(stream + 1, samples, 5),
                   draws<T>(stream + 2, samples * 4), draws<T>(stream + 3, samples * 36)};
  for (std::size_t i = 3; i < b.classes.size(); i += 5) b.classes[i] = -100;
  return b;
}

template <class T>
std::vector<T> cut_values(const std::vector<T>& all, std::int64_t size, std::int64_t first, std::int64_t count) {
  return {all.begin() + first * size, all.begin() + (first + count) * size};
}
template <class T>
drawn_batch<T> cut_batch(const drawn_batch<T>& all, std::int64_t first, std::int64_t count) {
  return {cut_values(all.x, 72, first, count), cut_values(all.classes, 1, first, count),
          cut_values(all.boxes, 4, first, count), cut_values(all.masks, 36, first, count)};
}

template <class Trainer, class T>
double step_on(Trainer& trainer, const drawn_batch<T>& b) {
  return trainer.step(batch<typename Trainer::model_type>(b.x), b.targets());
}

/// The step of one executor, with the plain update of step_on_one_device.
template <class Model, class B, class T>
step_result<T> on_one_device(const drawn_batch<T>& b) {
  constexpr std::int64_t count = Model::parameter_count;
  ls::aligned_buffer<T> parameters(Model::template plan<B>.value_count);
  ls::aligned_buffer<T> gradients(count);
  ls::initialize_parameters<Model, B>(parameters.data(), step_seed);
  ls::executor<Model, B> device;
  const auto denominators = b.denominators();
  std::array<ls::step_values, 3> now{};
  for (std::size_t k = 0; k < 3; ++k) now[k] = {.scale = weights[k] / denominators[k], .seed = step_seed.value};
  const typename Model::loss_type::template target_pack<T> targets{{b.classes.data(), b.boxes.data(), b.masks.data()}};
  const auto sums = device.train(parameters.data(), gradients.data(), b.x.data(), targets, b.samples(), now);
  step_result<T> result;
  for (std::size_t k = 0; k < 3; ++k) result.loss += weights[k] * sums[k] / denominators[k];
  using range = ls::named_values_range<Model, B, 1, false>;
  result.gradients = all_values(range({gradients.data()}));
  for (std::int64_t i = 0; i < count; ++i) parameters.data()[i] -= static_cast<T>(step_size) * gradients.data()[i];
  result.parameters = all_values(range({parameters.data()}));
  return result;
}

template <class Model, class B, int N, class T>
step_result<T> on_replicas(const drawn_batch<T>& b) {
  ls::data_parallel<Model, N, B> trainer({.learning_rate = step_size});
  trainer.initialize(step_seed);
  step_result<T> result;
  result.loss = step_on(trainer, b);
  double of_parts = 0;
  for (std::size_t k = 0; k < 3; ++k) of_parts += weights[k] * trainer.losses()[k];
  CHECK(result.loss == Approx(of_parts).epsilon(1e-14));
  result.gradients = all_values(trainer.gradients());
  result.parameters = all_values(trainer.parameters());
  return result;
}

template <class Model, class B>
void check_one_device() {
  using value = typename B::value_type;
  for (const std::int64_t samples : {61, 5}) {
    const auto b = drawn_for<value>(700, samples);
    const auto expected = on_one_device<Model, B>(b);
    const auto check = [&]<int N> {
      INFO(samples << " samples, " << N << " replicas");
      check_same_step(on_replicas<Model, B, N>(b), expected);
    };
    check.template operator()<1>();
    check.template operator()<2>();
    check.template operator()<3>();
  }
}

template <class Model>
void check_ranks() {
  constexpr ls::sgd momentum{.learning_rate = 0.0625F, .momentum = 0.9F};
  const std::vector<drawn_batch<float>> batches{drawn_for(1, 61), drawn_for(2, 5), drawn_for(3, 16)};
  // The second rank has one class that is not ignored, then none.
  const std::vector<std::int64_t> first_parts{30, 3, 8};
  ls::data_parallel<Model, 1> alone(momentum);
  alone.initialize(ls::seed{7});
  std::vector<double> losses;
  std::vector<std::array<double, 3>> parts;
  for (const auto& whole : batches) {
    losses.push_back(step_on(alone, whole));
    parts.push_back(alone.losses());
  }
  const auto expected = all_values(alone.parameters());

  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const bool first = rank.rank() == 0;
    ls::data_parallel<Model, 2, thread_rank, ls::bucket_bytes<256>> trainer(momentum, std::move(rank));
    trainer.initialize(ls::seed{7});
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const std::int64_t part = first_parts[i];
      const double loss = step_on(
          trainer, first ? cut_batch(batches[i], 0, part) : cut_batch(batches[i], part, batches[i].samples() - part));
      expect(is_close(loss, losses[i], {.relative = 1e-5}), "the loss");
      for (std::size_t k = 0; k < 3; ++k)
        expect(is_close(trainer.losses()[k], parts[i][k], {.relative = 1e-5}), "the loss of an output");
    }
    expect_close(all_values(trainer.parameters()), expected);
    trainer.join();
  }));
}

template <class Model, int N>
auto trained_bits_of() {
  ls::data_parallel<Model, N, ls::reduce::reproducible> trainer(
      {.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F}, {}, {.max_norm = 1.0});
  trainer.initialize(ls::seed{7});
  std::vector<double> losses;
  std::vector<std::vector<float>> values;
  std::uint64_t stream = 100;
  for (const std::int64_t samples : {64, 61, 5}) {
    const auto b = drawn_for(stream += 4, samples);
    losses.push_back(step_on(trainer, b));
    losses.insert(losses.end(), trainer.losses().begin(), trainer.losses().end());
    losses.push_back(trainer.gradient_norm());
    const auto score = trainer.evaluate(batch<Model>(b.x), b.targets());
    for (const ls::evaluation& part : score.parts) losses.push_back(part.loss_sum);
    std::apply([&](const auto&... y) { (values.emplace_back(y.begin(), y.end()), ...); },
               trainer.forward(batch<Model>(b.x)));
  }
  for (auto& parameter : all_values(trainer.parameters())) values.push_back(std::move(parameter));
  return std::pair(losses, values);
}

template <class Model>
void check_bits() {
  const auto one = trained_bits_of<Model, 1>();
  for (const double each : one.first) REQUIRE(std::isfinite(each));
  const auto check = [&](const auto& given) {
    CHECK(same_bits(given.first, one.first));
    CHECK(same_bits(given.second, one.second));
  };
  check(trained_bits_of<Model, 2>());
  check(trained_bits_of<Model, 4>());
  check(trained_bits_of<Model, 8>());
}

}  // namespace

TEST_CASE("a step of N replicas is the step of one device: several outputs", "[data_parallel][outputs]") {
  SECTION("float") { check_one_device<detector, ls::cpu>(); }
  SECTION("double") { check_one_device<detector, ls::reference<double>>(); }
  SECTION("with batch normalisation") { check_one_device<normalised_detector, ls::cpu>(); }
}

TEST_CASE("ranks of replicas give the results of one process: several outputs", "[ranks][outputs]") {
  SECTION("plain") { check_ranks<detector>(); }
  SECTION("with batch normalisation") { check_ranks<normalised_detector>(); }
}

TEST_CASE("models with several outputs train to the same bits on 1, 2, 4 and 8 replicas", "[reproducible][outputs]") {
  SECTION("plain") { check_bits<detector>(); }
  SECTION("with batch normalisation") { check_bits<normalised_detector>(); }
}

TEST_CASE("targets come as a tuple or as a struct of any arrays", "[data_parallel][outputs]") {
  const auto b = drawn_for(40, 6);
  const auto trained = [&](const auto& targets) {
    ls::data_parallel<detector, 2> trainer({.learning_rate = 0.1F});
    const double loss = trainer.step(b.x, targets);
    auto all = all_values(trainer.parameters());
    all.push_back({static_cast<float>(loss)});
    return all;
  };
  const auto expected = trained(b.targets());

  struct answers {
    std::vector<std::int32_t> kinds;
    std::span<const float> places;
    ls::tensor_view<const float, ls::shape<ls::dynamic, 1, 6, 6>> shapes;
  };
  const answers as_struct{{b.classes.begin(), b.classes.end()},
                          b.boxes,
                          ls::tensor_view<const float, ls::shape<ls::dynamic, 1, 6, 6>>(b.masks.data(), 6)};
  CHECK(same_bits(trained(as_struct), expected));
  CHECK(same_bits(trained(std::tuple(std::span(b.classes), as_struct.places, as_struct.shapes)), expected));

  using twins = ls::model<ls::outputs<ls::linear<2>, ls::linear<3>>, ls::input<4>,
                          ls::losses<ls::cross_entropy, ls::cross_entropy>>;
  ls::data_parallel<twins, 2> one;
  ls::data_parallel<twins, 2> other;
  const std::vector<float> x = draws<float>(50, 8);
  const std::vector<int> first{0, 1};
  const std::vector<int> second{2, 0};
  CHECK(one.step(x, std::pair(first, second)) == other.step(x, std::array{first, second}));
}

TEST_CASE("targets that do not fit are refused, each output by its number", "[data_parallel][outputs]") {
  ls::data_parallel<detector, 2> trainer;
  auto b = drawn_for(60, 3);
  const auto before = all_values(trainer.parameters());
  const auto message = [&] { return message_of<ls::shape_error>([&] { trainer.step(b.x, b.targets()); }); };
  b.boxes.pop_back();
  CHECK(message() == "lockstep: data_parallel: expected 12 targets of output 1 for 3 samples, got 11");
  b.boxes.push_back(0);
  b.classes[1] = 5;
  CHECK_THROWS_AS(trainer.step(b.x, b.targets()), ls::value_error);
  b.classes[1] = 0;
  using turned = ls::tensor_view<const float, ls::shape<ls::dynamic, 6, 6, 1>>;
  CHECK_THROWS_AS(trainer.step(b.x, std::tuple(b.classes, b.boxes, turned(b.masks.data(), 3))), ls::shape_error);
  CHECK(all_values(trainer.parameters()) == before);
  CHECK_THROWS_AS(trainer.step(b.x, b.targets(), std::array{1.0, 0.0, 1.0}), ls::value_error);
  CHECK_NOTHROW(trainer.step(b.x, b.targets()));
}

TEST_CASE("a loss without a kept target is NaN and leaves the others their gradients", "[data_parallel][outputs]") {
  auto b = drawn_for(70, 5);
  b.classes.assign(5, -100);
  ls::data_parallel<detector, 2> trainer({.learning_rate = step_size});
  trainer.initialize(step_seed);
  CHECK(std::isnan(step_on(trainer, b)));
  CHECK(std::isnan(trainer.losses()[0]));
  CHECK(std::isfinite(trainer.losses()[1]));
  for (const auto& gradient : trainer.gradients()) {
    const auto values = gradient.values();
    const bool of_class = gradient.name().find("class") != std::string_view::npos;
    CHECK((values == std::vector<float>(values.size())) == of_class);
  }
}

TEST_CASE("batches that accumulate with the denominators of all are one batch", "[data_parallel][outputs]") {
  const auto b = drawn_for(80, 13);
  constexpr ls::sgd plain{.learning_rate = step_size};
  ls::data_parallel<detector, 2> whole(plain);
  ls::data_parallel<detector, 2> parts(plain);
  const double loss = step_on(whole, b);
  const auto first = cut_batch(b, 0, 4);
  const auto second = cut_batch(b, 4, 9);
  const double sum = parts.accumulate(first.x, first.targets(), b.denominators()) +
                     parts.step(second.x, second.targets(), b.denominators());
  CHECK(is_close(sum, loss, {.relative = 1e-6}));
  check_close(all_values(parts.parameters()), all_values(whole.parameters()));
}

TEST_CASE("an evaluation has a part for each output", "[data_parallel][outputs]") {
  const auto b = drawn_for(90, 17);
  ls::data_parallel<detector, 3> trainer;
  const auto score = trainer.evaluate(b.x, b.targets());
  auto halves = trainer.evaluate(cut_batch(b, 0, 9).x, cut_batch(b, 0, 9).targets());
  halves += trainer.evaluate(cut_batch(b, 9, 8).x, cut_batch(b, 9, 8).targets());
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(score[k].denominator == b.denominators()[k]);
    CHECK(is_close(halves[k].loss_sum, score[k].loss_sum, {.relative = 1e-6}));
    CHECK(halves[k].correct == score[k].correct);
  }
  const auto [logits, boxes, masks] = trainer.forward(b.x);
  std::int64_t correct = 0;
  for (std::int64_t s = 0; s < 17; ++s) {
    std::int64_t best = 0;
    for (std::int64_t c = 1; c < 5; ++c)
      if (logits(s, c) > logits(s, best)) best = c;
    correct += best == b.classes[static_cast<std::size_t>(s)] ? 1 : 0;
  }
  CHECK(score[0].correct == correct);
  CHECK(score[0].counted == static_cast<std::int64_t>(b.denominators()[0]));
  CHECK(score[1].counted == 17);
  double of_boxes = 0;
  for (std::size_t i = 0; i < b.boxes.size(); ++i)
    of_boxes += std::pow(double{boxes.data()[i]} - double{b.boxes[i]}, 2);
  CHECK(is_close(score[1].loss_sum, of_boxes, {.relative = 1e-5}));

  const double loss = trainer.step(b.x, b.targets());
  CHECK(is_close(score.loss(), loss, {.relative = 1e-6}));
  CHECK(is_close(halves.loss(), loss, {.relative = 1e-6}));
}

TEST_CASE("forward and a predictor return a tuple of outputs", "[data_parallel][predictor][outputs]") {
  const auto b = drawn_for(95, 11);
  ls::data_parallel<detector, 3> trainer;
  trainer.initialize(ls::seed{3});
  const auto outputs = trainer.forward(b.x);
  const auto& boxes = std::get<detector::output<"box">>(outputs);
  STATIC_REQUIRE(std::remove_cvref_t<decltype(boxes)>::shape_type::extents == ls::dims{ls::dynamic, 4});

  // The outputs of a network that has this one alone.
  using alone = ls::model<ls::sequential<ls::sequential<padded_conv<4>, ls::relu>, box_head>, ls::input<2, 6, 6>>;
  ls::data_parallel<alone, 1> one;
  std::size_t taken = 0;
  for (const auto& from : trainer.parameters())
    for (const auto& to : one.parameters()) {
      const bool same_trunk = from.name().starts_with("0.") && to.name() == from.name();
      const bool same_head =
          from.name().starts_with("1.box.") && to.name().starts_with("box.") && from.name().substr(2) == to.name();
      if (same_trunk || same_head) to.assign(from.values()), ++taken;
    }
  REQUIRE(taken == 6);
  const auto expected = one.forward(b.x);
  CHECK(relative_difference(std::vector<float>(boxes.begin(), boxes.end()),
                            std::vector<float>(expected.begin(), expected.end())) <= 1e-6);

  std::vector<float> memory(11 * (5 + 4 + 36), -1.F);
  const auto into = [&](std::int64_t box_rows) {
    float* const data = memory.data();
    trainer.forward(b.x, std::tuple(ls::tensor_view<float, ls::shape<ls::dynamic, 5>>(data, 11),
                                    ls::tensor_view<float, ls::shape<ls::dynamic, 4>>(data + 55, box_rows),
                                    ls::tensor_view<float, ls::shape<ls::dynamic, 1, 6, 6>>(data + 99, 11)));
  };
  into(11);
  std::vector<float> joined;
  std::apply([&](const auto&... y) { (joined.insert(joined.end(), y.begin(), y.end()), ...); }, outputs);
  CHECK(same_bits(memory, joined));
  CHECK(message_of<ls::shape_error>([&] { into(10); }) ==
        "lockstep: data_parallel::forward: expected 11 rows of output 1, got 10");

  const ls::predictor<detector, 2> server(trainer, {.max_batch = 4});
  const auto images = batch<detector>(b.x);
  const auto check = [&](const auto& given) {
    std::vector<float> all;
    std::apply([&](const auto&... y) { (all.insert(all.end(), y.begin(), y.end()), ...); }, given);
    CHECK(relative_difference(all, joined) <= 1e-6);
  };
  check(server.predict(images));
  check(server.submit(images).get());
}
