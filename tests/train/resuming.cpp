// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs that stop, or are killed, and go on from their checkpoints, against the same runs undisturbed.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <lockstep/io/checkpoints.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "train/program.hpp"

namespace {

using namespace lockstep_test;

std::string succeed(const workplace& place, const std::string& arguments) {
  const outcome result = place.run(arguments);
  INFO(arguments << "\n" << result.err);
  REQUIRE(result.code == 0);
  CHECK(result.err.empty());
  return result.out;
}

void check_refused(const workplace& place, const std::string& arguments, const std::string& part) {
  const outcome result = place.run(arguments);
  INFO(arguments << "\n" << result.err);
  CHECK(result.code == 2);
  CHECK(result.out.empty());
  CHECK(result.error_lines() == 1);
  CHECK(result.err.find(part) != std::string::npos);
}

/// A log's lines without speeds, which differ from run to run.
std::vector<std::string> lines_of(const std::string& log) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < log.size();) {
    const std::size_t end = log.find('\n', begin);
    REQUIRE(end != std::string::npos);
    std::string line = log.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t speed = line.find(",\"samples_per_s\":");
    REQUIRE(speed != std::string::npos);
    lines.push_back(line.substr(0, speed));
  }
  return lines;
}

/// The checkpoints in a folder, those of the fewest steps first.
std::vector<std::string> checkpoints_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  if (std::filesystem::exists(folder))
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".safetensors") names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Trains with these flags in one go, and in several that stop after some steps, and compares weights and logs.
void check_goes_on(const std::string& flags, const std::string& then, const std::vector<int>& stops, int steps) {
  const workplace place;
  INFO(flags << " | " << then);
  const auto all = [&](const std::string& name) { return " --quiet --log " + name + ".jsonl --save " + name; };
  const std::string end = " --steps " + std::to_string(steps);
  succeed(place, flags + end + all("whole"));
  bool first = true;
  for (const int stop : stops) {
    succeed(place, (first ? flags : flags + then) + " --checkpoint run --resume --checkpoint-every 7" + all("cut") +
                       " --steps " + std::to_string(stop));
    first = false;
  }
  succeed(place, flags + then + " --checkpoint run --resume --checkpoint-every 7" + all("cut") + end);
  CHECK((place.read("cut") == place.read("whole")));
  const auto whole = lines_of(place.read("whole.jsonl"));
  CHECK(lines_of(place.read("cut.jsonl")) == whole);
}

/// A run of the program that can be killed.
class running_program {
 public:
  running_program(const workplace& place, const std::vector<std::string>& arguments) {
    std::vector<char*> words;
    static std::string program = LOCKSTEP_TRAIN_PROGRAM;
    words.push_back(program.data());
    auto own = arguments;
    for (auto& argument : own) words.push_back(argument.data());
    words.push_back(nullptr);
    const std::string folder = place.path("").string();
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ != 0) return;
    const int errors = ::open((folder + "/err.txt").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ::dup2(errors, 2);
    if (::chdir(folder.c_str()) == 0) ::execv(program.c_str(), words.data());
    ::_exit(127);
  }

  running_program(const running_program&) = delete;
  running_program& operator=(const running_program&) = delete;
  ~running_program() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  /// The exit code if it ends by itself within a time; else kills it.
  std::optional<int> wait_or_kill(std::chrono::microseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    int status = 0;
    while (std::chrono::steady_clock::now() < end) {
      if (::waitpid(child_, &status, WNOHANG) == child_) {
        child_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    ::kill(child_, SIGKILL);
    REQUIRE(::waitpid(child_, &status, 0) == child_);
    child_ = -1;
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    REQUIRE(WTERMSIG(status) == SIGKILL);
    return std::nullopt;
  }

 private:
  ::pid_t child_ = -1;
};

}  // namespace

TEST_CASE("a run that stops goes on from its checkpoint with the bits of an undisturbed one") {
  LOCKSTEP_NEED_PROGRAM();
  // Ten batches an epoch. A constant rate, since the length of a run is part of other schedules.
  check_goes_on("--model linear --momentum 0.9", "", {1, 10, 13, 20, 27}, 34);
  check_goes_on("--model linear --optimizer adamw --no-shuffle --batch 300", "", {3, 9}, 13);
  check_goes_on("--model linear --optimizer adam --reduce reproducible", " --replicas 4", {12}, 25);
  check_goes_on("--model mlp --batch 640 --reduce reproducible --momentum 0.5", " --replicas 8", {4}, 6);
  check_goes_on("--model mlp --batch 640 --augment --normalise --optimizer adam", "", {4, 13}, 16);
}

TEST_CASE("a run goes on in the midst of its schedule") {
  LOCKSTEP_NEED_PROGRAM();
  for (const std::string schedule : {"cosine --warmup 5", "one-cycle", "step"}) {
    const workplace place;
    const std::string flags = "--model linear --optimizer adamw --epochs 4 --quiet --schedule " + schedule;
    succeed(place, flags + " --save whole --log whole.jsonl");
    succeed(place, flags + " --checkpoint run --checkpoint-every 7 --save cut --log cut.jsonl");
    CHECK((place.read("cut") == place.read("whole")));
    CHECK(checkpoints_in(place.path("run")) == std::vector<std::string>{"step-000000028.safetensors",
                                                                        "step-000000035.safetensors",
                                                                        "step-000000040.safetensors"});
    // As a process leaves it that is killed soon after step 28.
    std::filesystem::remove(place.path("run/step-000000035.safetensors"));
    std::filesystem::remove(place.path("run/step-000000040.safetensors"));
    const outcome resumed = place.run(flags + " --checkpoint run --resume --save again --log cut.jsonl --replicas 1");
    CHECK(resumed.code == 0);
    CHECK((place.read("again") == place.read("whole")));
    CHECK(lines_of(place.read("cut.jsonl")) == lines_of(place.read("whole.jsonl")));
  }
}

TEST_CASE("a run that is done has nothing left to do") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const std::string flags = "--model linear --epochs 2 --checkpoint run --resume --log log.jsonl --save ";
  const std::string first = succeed(place, flags + "first");
  CHECK(first.find("no checkpoint in run yet: the run begins\n") != std::string::npos);
  const auto log = lines_of(place.read("log.jsonl"));
  const std::string second = succeed(place, flags + "second");
  CHECK(second.find("goes on after step 20, from run/step-000000020.safetensors\n") != std::string::npos);
  CHECK(second.find("finished: 0 steps ") != std::string::npos);
  CHECK((place.read("first") == place.read("second")));
  CHECK(lines_of(place.read("log.jsonl")) == log);
  // A shorter run is done too, and a longer one goes on.
  succeed(place, "--model linear --steps 7 --checkpoint run --resume");
  CHECK(succeed(place, "--model linear --epochs 3 --checkpoint run --resume").find("finished: 10 steps ") !=
        std::string::npos);
}

TEST_CASE("a damaged checkpoint is told, and the one before it taken") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const std::string flags = "--model linear --epochs 2 --quiet --checkpoint run --checkpoint-every 6";
  succeed(place, flags + " --save whole");
  place.write("run/step-000000020.safetensors", "");
  const outcome resumed = place.run(flags + " --resume --save cut");
  CHECK(resumed.code == 0);
  CHECK(resumed.error_lines() == 1);
  CHECK(resumed.err.find("run/step-000000020.safetensors: expected a safetensors file of 8 bytes or more, got 0; the "
                         "run goes on from run/step-000000018.safetensors") != std::string::npos);
  CHECK((place.read("cut") == place.read("whole")));
  for (const auto& name : checkpoints_in(place.path("run"))) place.write("run/" + name, "x");
  check_refused(place, flags + " --resume", "run: expected a checkpoint that is whole, got none: ");
}

TEST_CASE("a checkpoint of another run is refused in one line") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const std::string flags = "--model linear --steps 12 --quiet --checkpoint run";
  succeed(place, flags);
  check_refused(place, flags, "--checkpoint: run has the checkpoints of an earlier run; --resume goes on with it");
  check_refused(place, flags + " --resume --learning-rate 0.5",
                "--resume: the run of run/step-000000012.safetensors has --learning-rate 0.01, not 0.5");
  check_refused(place, flags + " --resume --optimizer adam", "has --optimizer sgd, not adam");
  check_refused(place, flags + " --resume --seed 4", "has --seed 0, not 4");
  check_refused(place, flags + " --resume --batch 50", "has --batch 100, not 50");
  check_refused(place, flags + " --resume --no-shuffle", "has --no-shuffle off, not on");
  check_refused(place, "--model mlp --quiet --checkpoint run --resume", "has --model linear, not mlp");
  check_refused(place, "--model linear --resume", "--checkpoint");
  check_refused(place, "--model linear --checkpoint-every 5", "--checkpoint");
  check_refused(place, flags + " --checkpoint-every 0", "--checkpoint-every");
  check_refused(place, "--model linear --checkpoint ''", "--checkpoint");
  place.write("file", "x");
  check_refused(place, "--model linear --checkpoint file", "file");
  check_refused(place, "--model linear --checkpoint file/run", "file/run");
  CHECK(checkpoints_in(place.path("run")).size() == 1);
}

TEST_CASE("two processes do not write to one folder") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  running_program first(place, {"--model", "linear", "--epochs", "1000000", "--quiet", "--checkpoint", "run"});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (checkpoints_in(place.path("run")).empty() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::string flags = "--model linear --epochs 1 --quiet --checkpoint run --resume";
  check_refused(place, flags, "run: expected a folder that nobody else writes checkpoints to, got one in use");
  CHECK(!first.wait_or_kill(std::chrono::microseconds(0)));
  succeed(place, flags);
}

TEST_CASE("other data is refused in one line") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const auto write_digits = [&](const std::string& folder, char first) {
    place.make_folder(folder);
    const auto file = [](std::vector<int> extents, std::string content) {
      std::string all{'\0', '\0', '\x08', static_cast<char>(extents.size())};
      for (const int extent : extents) all += {'\0', '\0', '\0', static_cast<char>(extent)};
      return all + content;
    };
    std::string pixels(std::size_t{20} * 28 * 28, '\x40');
    pixels.front() = first;
    for (const std::string part : {"train", "t10k"}) {
      place.write(folder + "/" + part + "-images-idx3-ubyte", file({20, 28, 28}, pixels));
      place.write(folder + "/" + part + "-labels-idx1-ubyte", file({20}, std::string(20, '\x03')));
    }
  };
  write_digits("one", '\x40');
  write_digits("other", '\x41');
  const std::string flags = "--model mlp --batch 10 --steps 3 --quiet --checkpoint run --resume --data ";
  succeed(place, flags + "one");
  std::filesystem::rename(place.path("one"), place.path("moved"));
  succeed(place, flags + "moved");
  check_refused(place, flags + "other", "expected a run on the loader's data, got one on other data");
}

TEST_CASE("a run that is killed again and again ends with the bits of an undisturbed one") {
  LOCKSTEP_NEED_PROGRAM();
  const char* const asked = std::getenv("LOCKSTEP_KILLS");
  const int kills = asked != nullptr ? std::atoi(asked) : 10;
  const char* const chosen = std::getenv("LOCKSTEP_KILL_SEED");
  const unsigned seed = chosen != nullptr ? static_cast<unsigned>(std::atoi(chosen)) : std::random_device{}();
  INFO("LOCKSTEP_KILL_SEED=" << seed);
  std::mt19937 chance(seed);

  const workplace place;
  const std::vector<std::string> flags{"--model", "linear",     "--optimizer", "adamw",    "--reduce", "reproducible",
                                       "--quiet", "--schedule", "cosine",      "--epochs", "100"};
  std::string line;
  for (const auto& flag : flags) line += flag + " ";
  succeed(place, line + "--log whole.jsonl --save whole");

  const std::vector<std::string> replicas{"1", "2", "4", "8"};
  int killed = 0;
  int mid_write = 0;
  std::int64_t newest = -1;
  std::int64_t lives = 0;
  for (bool done = false; !done; ++lives) {
    REQUIRE(lives < 100 * (kills + 1));
    auto arguments = flags;
    for (const std::string extra : {"--checkpoint", "run", "--resume", "--checkpoint-every", "3", "--log", "cut.jsonl",
                                    "--save", "cut", "--replicas"})
      arguments.push_back(extra);
    arguments.push_back(replicas[chance() % replicas.size()]);
    running_program program(place, arguments);
    // Once there have been kills enough it may go on to its end.
    const auto time = std::chrono::microseconds(killed < kills ? 2000 + chance() % 150'000 : 600'000'000);
    const std::optional<int> code = program.wait_or_kill(time);
    INFO("after " << killed << " kills: " << place.read("err.txt"));
    if (code) {
      REQUIRE(*code == 0);
      CHECK(place.read("err.txt").empty());
      // Ended before it could be killed often enough: from the beginning, in another folder.
      done = killed >= kills;
      if (!done) {
        CHECK((place.read("cut") == place.read("whole")));
        std::filesystem::remove_all(place.path("run"));
        newest = -1;
      }
    } else {
      REQUIRE(killed < kills);
      ++killed;
    }
    // Every checkpoint is whole, and none is lost.
    if (std::filesystem::exists(place.path("run")))
      for (const auto& entry : std::filesystem::directory_iterator(place.path("run")))
        if (entry.path().extension() == ".tmp") ++mid_write;
    std::int64_t last = -1;
    for (const auto& name : checkpoints_in(place.path("run")))
      last = std::max(last, lockstep::inspect_checkpoint(place.path("run/" + name).string()).steps);
    REQUIRE(last >= newest);
    newest = last;
  }
  CHECK(newest == 1000);
  // A kill between a write and the removal of an older file leaves one more, until a later write removes both.
  const auto left = checkpoints_in(place.path("run")).size();
  CHECK((left == 3 || left == 4));  // the last kill may come between a write and the removal of the oldest
  CHECK((place.read("cut") == place.read("whole")));
  CHECK(lines_of(place.read("cut.jsonl")) == lines_of(place.read("whole.jsonl")));
  WARN(killed << " kills in " << lives << " lives, " << mid_write << " of them in a write; seed " << seed);
}
