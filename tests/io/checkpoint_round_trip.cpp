// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs that go on from a checkpoint, against the same runs undisturbed, to the bit.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "io/checkpoint_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using namespace lockstep_test::small_run;

namespace {

constexpr std::int64_t an_epoch = 6;  // in steps

/// Saves a run after its first step, at the end of an epoch and in the midst of one, and lets another go on from there.
template <class Optimizer, int Others = 1>
void check_goes_on(const Optimizer& rule) {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  constexpr std::int64_t end = 20;
  constexpr std::int64_t runs_again = 12;  // the step from which on the layer b is skipped no more
  for (const std::int64_t at : {std::int64_t{1}, an_epoch, an_epoch + 3, runs_again + 1}) {
    INFO("saved after step " << at);
    trainer_of<Optimizer> straight(rule);
    straight.initialize(ls::seed{12});
    straight.skip("b");
    loader batches(data, how);
    go_on(straight, batches, end, [&](std::int64_t steps) {
      if (steps == at) ls::save_checkpoint(straight, batches, path);
      if (steps == runs_again) straight.skip("b", false);
    });

    trainer_of<Optimizer, Others> resumed(rule);
    loader rest(data, {.batch = 4, .shuffle = true, .seed = {3}, .prefetch = at % 3});
    go_on(resumed, rest, 2);  // what they were before does not matter
    const ls::checkpoint_info info = ls::load_checkpoint(resumed, rest, path);
    CHECK(info.path == path);
    CHECK(info.steps == at);
    CHECK(info.seed == 12);
    REQUIRE(info.position);
    CHECK(info.position->epoch == static_cast<std::uint64_t>((at - 1) / an_epoch));
    CHECK(info.position->batch == (at - 1) % an_epoch + 1);
    CHECK(info.changed_options.empty());
    CHECK(rest.position() == *info.position);
    go_on(resumed, rest, end, [&](std::int64_t steps) {
      if (steps == runs_again) resumed.skip("b", false);
    });
    CHECK((all_of(resumed, rest) == all_of(straight, batches)));
  }
}

}  // namespace

TEST_CASE("a run of every optimizer goes on with the bits of an undisturbed one", "[checkpoint]") {
  check_goes_on(ls::sgd{.learning_rate = 0.1});
  check_goes_on(ls::sgd{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
  check_goes_on(ls::adam{.learning_rate = 0.02, .amsgrad = true});
  check_goes_on(ls::adamw{.learning_rate = 0.02, .betas = {0.8, 0.99}});
  check_goes_on(ls::nadam{.learning_rate = 0.02});
  check_goes_on(ls::rmsprop{.learning_rate = 0.01, .momentum = 0.5, .centered = true});
  check_goes_on(ls::lion{.learning_rate = 0.01});
  check_goes_on<ls::muon, 2>(ls::muon{.learning_rate = 0.02});
}

TEST_CASE("a run with a schedule and averages goes on, on another number of replicas too", "[checkpoint]") {
  using rule = ls::averaged<ls::scheduled<ls::adamw, ls::schedule::warm_up<ls::schedule::cosine>>>;
  check_goes_on<rule, 4>(
      rule{{ls::adamw{.learning_rate = 0.05}, ls::schedule::warm_up{4, ls::schedule::cosine{.steps = 40}}}, 0.9});
}

TEST_CASE("what reduce_on_plateau has seen is kept", "[checkpoint]") {
  using schedule = ls::schedule::warm_up<ls::schedule::reduce_on_plateau>;
  using rule = ls::averaged<ls::scheduled<ls::sgd, schedule>>;
  const rule fresh{{ls::sgd{.learning_rate = 0.1}, schedule{2, {.factor = 0.5, .patience = 1, .cooldown = 1}}}, 0.9};
  const auto plateau = [](auto& trainer) -> auto& { return trainer.optimizer().optimizer.schedule.then; };
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  trainer_of<rule> straight(fresh);
  loader batches(data, how);
  const std::vector<double> losses{3, 2, 2, 2, 2.5, 2, 2};
  const auto show = [&](auto& trainer) {
    return [&](std::int64_t steps) { plateau(trainer).observe(losses[static_cast<std::size_t>(steps - 1) % 7]); };
  };
  go_on(straight, batches, 5, show(straight));
  ls::save_checkpoint(straight, batches, path);
  CHECK(plateau(straight).now == 0.5);
  CHECK(plateau(straight).best == 2);
  trainer_of<rule> resumed(fresh);
  loader rest(data, how);
  ls::load_checkpoint(resumed, rest, path);
  CHECK(plateau(resumed).state() == plateau(straight).state());

  // Before the first loss the best one is no number.
  trainer_of<rule> unseen(fresh);
  ls::save_checkpoint(unseen, path);
  ls::load_checkpoint(resumed, path);
  CHECK(plateau(resumed).now == 1);
  CHECK(std::isnan(plateau(resumed).best));
}

TEST_CASE("a position after the last batch of an epoch leaves the epoch's end to come", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  trainer_of<ls::sgd> trainer;
  loader batches(data, how);
  for (const auto& [x, labels] : batches) {
    static_cast<void>(trainer.step(x, labels));
    ls::save_checkpoint(trainer, batches, path);
  }
  trainer_of<ls::sgd> resumed;
  loader rest(data, how);
  ls::load_checkpoint(resumed, rest, path);
  CHECK(rest.next_epoch() == 0);
  int walked = 0;
  for (const auto& batch : rest) walked += batch.size() > 0 ? 1 : 0;
  CHECK(walked == 0);
  CHECK(rest.position() == batches.position());
  // Saved between two epochs, the next one comes.
  ls::save_checkpoint(trainer, batches, path);
  ls::load_checkpoint(resumed, rest, path);
  CHECK(rest.position() == ls::data::loader_position{1, 0});
}

TEST_CASE("a checkpoint without a loader, and one loaded without", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  trainer_of<ls::sgd> trainer;
  loader batches(data, how);
  go_on(trainer, batches, 8);
  ls::save_checkpoint(trainer, batches, path, {{"author", "some \"one\""}, {"run", "7"}});
  const ls::checkpoint_info info = ls::inspect_checkpoint(path);
  CHECK(info.notes == ls::safetensors_metadata{{"author", "some \"one\""}, {"run", "7"}});
  CHECK(info.steps == 8);
  CHECK(info.optimizer == "sgd");
  trainer_of<ls::sgd> other;
  loader rest(data, how);
  CHECK(ls::load_checkpoint(other, path).position == ls::data::loader_position{1, 2});
  CHECK(rest.position() == ls::data::loader_position{0, 0});
  CHECK(other.steps() == 8);

  ls::save_checkpoint(trainer, path);
  CHECK(!ls::inspect_checkpoint(path).position);
  CHECK_THROWS_WITH(ls::load_checkpoint(other, rest, path),
                    Catch::Contains("saved without one") && Catch::Contains("load it without the loader"));
}

TEST_CASE("numbers of an optimizer may change, and are told", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  trainer_of<ls::adamw> trainer(ls::adamw{.learning_rate = 0.01});
  loader batches(data, how);
  go_on(trainer, batches, 3);
  ls::save_checkpoint(trainer, batches, path);
  trainer_of<ls::adamw> other(ls::adamw{.learning_rate = 0.1, .betas = {0.9, 0.95}});
  CHECK(ls::load_checkpoint(other, path).changed_options ==
        std::vector<std::string>{"learning_rate 0.1 in place of 0.01", "betas 0.9,0.95 in place of 0.9,0.999"});
  CHECK(other.optimizer().learning_rate == 0.1);
}

TEST_CASE("a file of the first form is read", "[checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  const ls::sgd rule{.learning_rate = 0.1, .momentum = 0.9};
  trainer_of<ls::sgd> straight(rule);
  loader batches(data, how);
  straight.skip("b");
  go_on(straight, batches, 5);
  ls::save_checkpoint(straight, path);
  // The same, as the first version of the library wrote it.
  const auto written = ls::safetensors_file::read(path);
  std::vector<ls::safetensors_tensor> tensors;
  for (const auto& name : written.names())
    tensors.push_back({name, written.at(name).dtype, written.at(name).shape, written.at(name).data});
  ls::safetensors_metadata metadata{{"format", "pt"},
                                    {"lockstep.seed", "0"},
                                    {"lockstep.steps", "5"},
                                    {"lockstep.state_steps", "5,5,5,0,5,5"},
                                    {"lockstep.optimizer_states", "1"}};
  ls::write_safetensors(path, tensors, metadata);
  CHECK(ls::inspect_checkpoint(path).optimizer.empty());
  trainer_of<ls::sgd> resumed(rule);
  ls::load_checkpoint(resumed, path);
  resumed.skip("b");
  CHECK((all_of(resumed, batches) == all_of(straight, batches)));
  CHECK_THROWS_WITH(ls::load_checkpoint(resumed, batches, path), Catch::Contains("expected the position of a loader"));
  // One that had lost the names of its version and its checksum would have more.
  metadata.emplace_back("lockstep.skipped", "000100");
  ls::write_safetensors(path, tensors, metadata);
  CHECK_THROWS_WITH(ls::load_checkpoint(resumed, path), Catch::Contains("the file is damaged"));
}
