// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A folder of checkpoints, and runs that go on from it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/comm/threads.hpp>
#include <lockstep/data/sampler.hpp>
#include <lockstep/io/checkpoints.hpp>

#include "io/checkpoint_support.hpp"
#include "parallel/rank_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using namespace lockstep_test::small_run;

namespace {

using rule_type = ls::sgd;
constexpr ls::sgd rule{.learning_rate = 0.1, .momentum = 0.9};
using trainer_type = trainer_of<rule_type>;

/// A trainer and a loader of the run that all cases here have.
struct small_training {
  trainer_type trainer{rule};
  loader batches{data, how};

  void go(std::int64_t steps) { go_on(trainer, batches, steps); }
  void go(std::int64_t steps, ls::checkpoints& keep) {
    go_on(trainer, batches, steps, [&](std::int64_t) { keep.after_step(trainer, batches); });
    keep.wait();
  }
  ls::checkpoint_search restore(ls::checkpoints& keep) { return keep.restore(trainer, batches); }
  std::string all() { return all_of(trainer, batches); }
};

std::string undisturbed(std::int64_t steps) {
  small_training straight;
  straight.go(steps);
  return straight.all();
}

std::string file_of(std::int64_t steps) {
  const std::string digits = std::to_string(steps);
  return "step-" + std::string(9 - digits.size(), '0') + digits + ".safetensors";
}

/// The names in a folder but for the lock's, sorted.
std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename() != ".lock") names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void damage(const std::string& path) {
  std::string bytes = slurp(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 4);
  put(path, bytes);
}

}  // namespace

TEST_CASE("a folder keeps the newest checkpoints, and a run goes on from the last", "[checkpoints]") {
  const temporary_folder place;
  const std::string folder = place / "runs/first";
  {
    ls::checkpoints keep(folder + "/", {.every = 3, .keep = 2});
    CHECK(keep.folder() == folder);
    small_training run;
    CHECK(!run.restore(keep).found);
    CHECK(!keep.is_due(run.trainer));
    run.go(11, keep);
    CHECK(names_in(folder) == std::vector{file_of(6), file_of(9)});
    CHECK(keep.latest().found->path == folder + "/" + file_of(9));
  }
  ls::checkpoints keep(folder, {.every = 3, .keep = 2});
  small_training run;
  const ls::checkpoint_search search = run.restore(keep);
  REQUIRE(search.found);
  CHECK(search.found->steps == 9);
  CHECK(search.damaged.empty());
  CHECK(!keep.is_due(run.trainer));
  run.go(20, keep);
  CHECK(names_in(folder) == std::vector{file_of(15), file_of(18)});
  CHECK((run.all() == undisturbed(20)));
}

TEST_CASE("a run goes on from the checkpoint before one that is damaged", "[checkpoints]") {
  const temporary_folder place;
  const std::string folder = place / "run";
  {
    ls::checkpoints keep(folder, {.every = 2, .keep = 3});
    small_training run;
    run.go(9, keep);
  }
  damage(folder + "/" + file_of(8));
  put(folder + "/" + file_of(6), "");
  ls::checkpoints keep(folder, {.every = 3, .keep = 2});
  const ls::checkpoint_search latest = keep.latest();
  REQUIRE(latest.damaged.size() == 2);
  CHECK(latest.damaged[0].path == folder + "/" + file_of(8));
  CHECK_THAT(latest.damaged[0].reason, Catch::StartsWith("expected bytes of the checksum"));
  CHECK(latest.damaged[1].path == folder + "/" + file_of(6));
  CHECK_THAT(latest.damaged[1].reason, Catch::StartsWith("expected a safetensors file of 8 bytes or more"));

  small_training run;
  const ls::checkpoint_search search = run.restore(keep);
  REQUIRE(search.found);
  CHECK(search.found->steps == 4);
  CHECK(search.damaged.size() == 2);
  // The damaged ones do not count among those that are kept, and make way once the run has come past them.
  run.go(6, keep);
  CHECK(names_in(folder) == std::vector{file_of(4), file_of(6), file_of(8)});
  CHECK_NOTHROW(ls::inspect_checkpoint(folder + "/" + file_of(6)));
  run.go(11, keep);
  CHECK(names_in(folder) == std::vector{file_of(6), file_of(9)});
  CHECK((run.all() == undisturbed(11)));
}

TEST_CASE("a folder in which no checkpoint is whole is refused, naming each", "[checkpoints]") {
  const temporary_folder place;
  put(place / file_of(6), "");
  std::filesystem::create_directory(place / file_of(9));
  ls::checkpoints keep(place.path().string());
  CHECK(!keep.latest().found);
  small_training run;
  run.go(2);
  const std::string before = run.all();
  const std::string text = message_of<ls::io_error>([&] { run.restore(keep); });
  CHECK_THAT(text, Catch::Contains(place.path().string() + ": expected a checkpoint that is whole, got none: " +
                                   file_of(9) + ": expected a file, got a directory; " + file_of(6) + ": "));
  CHECK((run.all() == before));
}

TEST_CASE("a whole checkpoint of another run is no damage", "[checkpoints]") {
  const temporary_folder place;
  ls::checkpoints keep(place.path().string(), {.every = 2});
  {
    small_training run;
    run.go(4, keep);
  }
  trainer_of<ls::adamw> other;
  loader batches(data, how);
  CHECK_THROWS_WITH(keep.restore(other, batches), Catch::Contains("expected a run of adamw, got one of sgd"));
}

TEST_CASE("a run that begins anew in the folder of another is refused", "[checkpoints]") {
  const temporary_folder place;
  {
    ls::checkpoints keep(place.path().string(), {.every = 2});
    small_training run;
    run.go(4, keep);
  }
  ls::checkpoints keep(place.path().string(), {.every = 1});
  small_training fresh;
  CHECK(!keep.is_due(fresh.trainer));
  CHECK_THROWS_WITH(fresh.go(1, keep), Catch::Contains("expected the folder of this run, which is at step 1, got one "
                                                       "with a checkpoint of step 4; restore() goes on from it"));
  CHECK(names_in(place.path().string()) == std::vector{file_of(2), file_of(4)});
}

TEST_CASE("what the writing thread throws arrives at the next call", "[checkpoints]") {
  const temporary_folder place;
  const std::string folder = place / "run";
  ls::checkpoints keep(folder, {.every = 1});
  small_training run;
  run.go(1);
  keep.save(run.trainer, run.batches);
  keep.wait();
  std::filesystem::rename(folder, place / "away");
  keep.save(run.trainer, run.batches);
  CHECK_THROWS_WITH(keep.wait(), Catch::Contains("make its folder first"));
  keep.save(run.trainer, run.batches);
  CHECK_THROWS_WITH(keep.save(run.trainer, run.batches), Catch::Contains("make its folder first"));
  keep.save(run.trainer, run.batches);
  const auto train_on = [&] {
    for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
         std::chrono::steady_clock::now() < end;) {
      keep.after_step(run.trainer, run.batches);
      std::this_thread::yield();
    }
  };
  CHECK_THROWS_WITH(train_on(), Catch::Contains("make its folder first"));
  std::filesystem::rename(place / "away", folder);
  run.go(2);
  keep.after_step(run.trainer, run.batches);
  keep.wait();
  CHECK(names_in(folder) == std::vector{file_of(1), file_of(2)});
  {
    const file_size_limit limit(1000);
    run.go(3);
    keep.save(run.trainer, run.batches);
    CHECK_THROWS_WITH(keep.wait(), Catch::Contains("ulimit -f"));
  }
  CHECK(names_in(folder) == std::vector{file_of(1), file_of(2)});
  keep.save(run.trainer, run.batches);
  CHECK_NOTHROW(keep.wait());
}

TEST_CASE("the run may go on while its checkpoint is written, and the destructor waits", "[checkpoints]") {
  const temporary_folder place;
  std::string at_six;
  {
    ls::checkpoints keep(place.path().string());
    small_training run;
    run.go(6);
    at_six = run.all();
    keep.save(run.trainer, run.batches);
    run.go(12);
  }
  small_training other;
  CHECK(ls::restore_checkpoint(other.trainer, other.batches, place.path().string()).found->steps == 6);
  CHECK((other.all() == at_six));
}

TEST_CASE("temporary files of a killed process are removed, and no others", "[checkpoints]") {
  const temporary_folder place;
  const std::vector<std::string> others{"notes.txt", "step-5.txt", "step-7.safetensors.tmpx", "x.1.0.tmp"};
  for (const auto& name : others) put(place / name, "x");
  put(place / (file_of(7) + ".123.0.tmp"), "x");
  put(place / "step-8.safetensors.9.1.tmp", "x");
  const ls::checkpoints keep(place.path().string());
  std::vector<std::string> expected = others;
  std::sort(expected.begin(), expected.end());
  CHECK(names_in(place.path().string()) == expected);
}

TEST_CASE("one owner at a time writes to a folder", "[checkpoints]") {
  const temporary_folder place;
  const std::string folder = place.path().string();
  const auto refused = Catch::Contains("expected a folder that nobody else writes checkpoints to");
  {
    const ls::checkpoints keep(folder);
    put(place / "step-8.safetensors.9.1.tmp", "x");
    CHECK_THROWS_WITH(ls::checkpoints(folder), refused);
    CHECK(names_in(folder).size() == 1);  // it may be the owner's
    CHECK_NOTHROW(ls::checkpoints(folder, {.writes = false}));
  }
  CHECK_NOTHROW(ls::checkpoints(folder));
}

TEST_CASE("two writers of one file leave one of theirs", "[checkpoints]") {
  const temporary_folder place;
  const std::string path = place / "run.safetensors";
  std::vector<std::thread> writers;
  std::atomic<int> failures{0};
  for (int w = 0; w < 3; ++w)
    writers.emplace_back([&, w] {
      try {
        small_training run;
        run.go(1 + w);
        for (int i = 0; i < 20; ++i) {
          ls::save_checkpoint(run.trainer, run.batches, path);
          static_cast<void>(ls::inspect_checkpoint(path));
        }
      } catch (...) {
        ++failures;
      }
    });
  for (auto& writer : writers) writer.join();
  CHECK(failures == 0);
  CHECK(place.file_count() == 1);
}

TEST_CASE("options of a folder out of their domain are refused", "[checkpoints]") {
  const temporary_folder place;
  CHECK_THROWS_AS(ls::checkpoints(""), ls::value_error);
  CHECK_THROWS_WITH(ls::checkpoints(place / "x", {.every = 0}), Catch::Contains("one step or more"));
  CHECK_THROWS_WITH(ls::checkpoints(place / "x", {.keep = 0}), Catch::Contains("one or more to keep"));
  CHECK(!std::filesystem::exists(place / "x"));
  put(place / "file", "x");
  CHECK_THROWS_AS(ls::checkpoints(place / "file"), ls::io_error);
  CHECK_THROWS_AS(ls::checkpoints(place / "file/run"), ls::io_error);
}

TEST_CASE("rank 0 writes, and every rank goes on", "[checkpoints]") {
  using ranked =
      ls::data_parallel<model, 1, rule_type, ls::comm::thread_rank, ls::reduce::reproducible, ls::micro_shards<2>>;
  const temporary_folder place;
  // Trains in a folder until there are so many steps; what the ranks hold then.
  const auto train = [&](const std::string& name, std::int64_t steps) {
    const std::string folder = place / name;
    check_no_failure(run_ranks(2, [&](ls::comm::thread_rank& own) {
      const int r = own.rank();
      ranked trainer(rule, std::move(own));
      const ls::data::distributed_sampler mine{ls::data::random_sampler{data.size(), {.seed = {3}}},
                                               {.batch = 4, .rank = r, .world_size = 2}};
      loader batches(data, {.batch = 4}, mine);
      ls::checkpoints keep(folder, {.every = 4, .writes = r == 0});
      static_cast<void>(keep.restore(trainer, batches));
      trainer.verify();
      while (trainer.steps() < steps)
        for (const auto& [x, labels] : batches) {
          static_cast<void>(trainer.step(x, labels));
          keep.after_step(trainer, batches);
          if (trainer.steps() == steps) break;
        }
      keep.wait();
      ls::save_checkpoint(trainer, batches, folder + "/rank" + std::to_string(r));
    }));
    return slurp(folder + "/rank0");
  };
  static_cast<void>(train("cut", 10));
  CHECK(names_in(place / "cut") == std::vector<std::string>{"rank0", "rank1", file_of(4), file_of(8)});
  const std::string resumed = train("cut", 20);
  CHECK((resumed == slurp(place / "cut/rank1")));
  CHECK((resumed == train("straight", 20)));
}
