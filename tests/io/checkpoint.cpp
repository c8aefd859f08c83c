// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <lockstep/io/checkpoint.hpp>
#include <lockstep/optim/averaged.hpp>

#include "io/io_support.hpp"
#include "parallel/rank_support.hpp"
#include "support/queued_backend.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::linear<9>, ls::relu, ls::dropout<0.2>, ls::named<"b", ls::skippable<ls::linear<9>>>,
                           ls::frozen<ls::linear<6>>, ls::linear<4>>;
using model = ls::model<net, ls::input<5>, ls::cross_entropy>;
using other_model = ls::model<ls::sequential<ls::linear<9>, ls::linear<4>>, ls::input<5>, ls::cross_entropy>;
constexpr ls::sgd damped{.learning_rate = 0.05F, .momentum = 0.9F, .dampening = 0.25F, .weight_decay = 0.01F};

const auto x = draws<float>(1, 12 * 5);
const auto targets = class_draws(2, 12, 4);

template <class Trainer>
double step(Trainer& trainer) {
  return trainer.step(batch<model>(x), targets);
}

/// Six steps, of which the first three skip a layer.
template <class Trainer>
void train_some(Trainer& trainer) {
  trainer.initialize(ls::seed{12});
  trainer.skip("b");
  for (int i = 0; i < 3; ++i) static_cast<void>(step(trainer));
  trainer.skip("b", false);
  for (int i = 0; i < 3; ++i) static_cast<void>(step(trainer));
}

/// Both make the same steps, to the bit.
template <class A, class B>
void check_goes_on_alike(A& straight, B& resumed) {
  CHECK(resumed.steps() == straight.steps());
  for (int i = 0; i < 4; ++i) CHECK(step(resumed) == step(straight));
  CHECK(same_bits(all_values(resumed.parameters()), all_values(straight.parameters())));
}

}  // namespace

TEST_CASE("training goes on from a checkpoint with the bits of undisturbed training", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  const auto check = [&]<class Trainer> {
    Trainer straight(damped);
    train_some(straight);
    ls::save_checkpoint(straight, path);
    Trainer resumed(damped);
    static_cast<void>(step(resumed));  // what it was before does not matter
    ls::load_checkpoint(resumed, path);
    check_goes_on_alike(straight, resumed);
  };
  check.operator()<ls::data_parallel<model, 2>>();
  check.operator()<ls::data_parallel<model, 1>>();
  check.operator()<ls::data_parallel<model, 2, queued>>();
}

TEST_CASE("a schedule and the bias corrections of adamw go on from a checkpoint", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  const ls::scheduled rule{ls::adamw{.learning_rate = 0.05, .amsgrad = true}, ls::schedule::cosine{.steps = 20}};
  using trainer_type = ls::data_parallel<model, 2, std::remove_const_t<decltype(rule)>>;
  trainer_type straight(rule);
  train_some(straight);
  ls::save_checkpoint(straight, path);
  trainer_type resumed(rule);
  // A trainer whose schedule has ended takes an earlier state all the same.
  for (int i = 0; i <= 20; ++i) static_cast<void>(step(resumed));
  CHECK_THROWS_AS(step(resumed), ls::value_error);
  ls::load_checkpoint(resumed, path);
  check_goes_on_alike(straight, resumed);
}

TEST_CASE("a checkpoint serves another number of replicas, with the same bits when they are reproducible",
          "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  ls::data_parallel<model, 1, ls::reduce::reproducible> straight(damped);
  train_some(straight);
  ls::save_checkpoint(straight, path);
  ls::data_parallel<model, 4, ls::reduce::reproducible> resumed(damped);
  ls::load_checkpoint(resumed, path);
  check_goes_on_alike(straight, resumed);
}

TEST_CASE("a checkpoint reaches every device", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  using trainer = ls::data_parallel<model, 2, queued>;
  trainer straight(damped, {}, {.devices = {0, 1}});
  train_some(straight);
  ls::save_checkpoint(straight, path);
  trainer resumed(damped, {}, {.devices = {0, 1}});
  ls::load_checkpoint(resumed, path);
  check_goes_on_alike(straight, resumed);
}

TEST_CASE("a checkpoint holds the parameters under their names", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  ls::data_parallel<model, 2> trainer(damped);
  train_some(trainer);
  ls::save_checkpoint(trainer, path);
  const auto file = ls::safetensors_file::read(path);
  for (const auto& parameter : trainer.parameters())
    CHECK(file.values_f32(std::string(parameter.name())) == parameter.values());
  CHECK(file.contains("optimizer_state.0.b.weight"));
  CHECK(!file.contains("optimizer_state.0.4.weight"));  // frozen
}

TEST_CASE("a file that is no checkpoint of the model is refused, and changes nothing", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  ls::data_parallel<model, 2> trainer(damped);
  train_some(trainer);
  const auto before = all_values(trainer.parameters());
  const auto refusal = [&] { return message_of<ls::io_error>([&] { ls::load_checkpoint(trainer, path); }); };

  ls::save_safetensors(trainer, path);
  CHECK_THAT(refusal(), Catch::Contains("expected a checkpoint") && Catch::Contains("load_safetensors"));

  ls::data_parallel<other_model, 1> other(damped);
  static_cast<void>(other.step(batch<other_model>(x), targets));
  ls::save_checkpoint(other, path);
  CHECK_THAT(refusal(), Catch::Contains("another model"));

  ls::save_checkpoint(trainer, path);
  ls::data_parallel<model, 2> plain;
  CHECK_THAT(message_of<ls::io_error>([&] { ls::load_checkpoint(plain, path); }),
             Catch::Contains("an optimizer with 0 states a parameter, got 1"));

  for (const std::string text : {"x", "1,", "", "-1", "18446744073709551616"}) {
    ls::write_safetensors(path, {}, {{"lockstep.seed", text}});
    CHECK_THAT(refusal(), Catch::Contains("expected numbers in its metadata's lockstep.seed"));
  }
  for (const std::string text : {"9007199254740993", "9223372036854775808", "1,2"}) {
    ls::write_safetensors(path, {}, {{"lockstep.seed", "1"}, {"lockstep.steps", text}});
    CHECK_THAT(refusal(), Catch::Contains("lockstep.steps"));
  }
  CHECK(trainer.steps() == 6);
  CHECK(same_bits(all_values(trainer.parameters()), before));
}

TEST_CASE("a run with averages does not go on without, nor one without with them", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  ls::data_parallel<model, 1> plain(damped);
  ls::data_parallel<model, 1, ls::averaged<ls::sgd>> averaging(ls::averaged{damped, 0.9});
  train_some(plain);
  train_some(averaging);
  const auto before = all_values(averaging.state());
  ls::save_checkpoint(plain, path);
  CHECK_THROWS_WITH(ls::load_checkpoint(averaging, path), Catch::Contains("expected a run with averages"));
  CHECK(same_bits(all_values(averaging.state()), before));
  ls::save_checkpoint(averaging, path);
  CHECK_THROWS_WITH(ls::load_checkpoint(plain, path), Catch::Contains("expected a run without averages"));
  ls::data_parallel<model, 2, ls::averaged<ls::sgd>> resumed(ls::averaged{damped, 0.9});
  CHECK_NOTHROW(ls::load_checkpoint(resumed, path));
}

TEST_CASE("a trainer with accumulated gradients is not saved, and loses them when one is loaded", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  ls::data_parallel<model, 2> straight(damped);
  train_some(straight);
  ls::save_checkpoint(straight, path);
  ls::data_parallel<model, 2> resumed(damped);
  static_cast<void>(resumed.accumulate(batch<model>(x), targets));
  CHECK_THROWS_WITH(ls::save_checkpoint(resumed, path), Catch::Contains("accumulated gradients"));
  ls::load_checkpoint(resumed, path);
  check_goes_on_alike(straight, resumed);
}
