// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <filesystem>
#include <string>

#include <sys/stat.h>

#include "support/file_reader.hpp"
#include "train/program.hpp"

namespace {

using namespace lockstep_test;

/// Makes a pipe.
std::string new_pipe(const std::filesystem::path& path) {
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  return path;
}

const std::string run = "--model linear --steps 3 --quiet ";

}  // namespace

TEST_CASE("outputs go to standard output where it is named") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  REQUIRE(place.run(run + "--save trained").code == 0);
  const outcome saved = place.run(run + "--save /dev/stdout");
  INFO(saved.err);
  CHECK(saved.code == 0);
  CHECK(saved.out == place.read("trained"));

  const outcome logged = place.run(run + "--log /dev/stdout");
  CHECK(logged.code == 0);
  CHECK(log_lines(logged.out).losses.size() == 3);

  // Between the program's own lines, and none over another.
  const outcome both = place.run("--model linear --steps 3 --log /dev/stdout");
  CHECK(both.out.find("\nepoch 1/1 ") != std::string::npos);
  CHECK(both.out.find("{\"step\":3,") != std::string::npos);
  CHECK(both.out.find("\nfinished: 3 steps ") != std::string::npos);

  CHECK(place.run(run + "--log /dev/stdout --report /dev/stdout --trace /dev/stdout").code == 0);
}

TEST_CASE("outputs go into pipes") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  for (const std::string flag : {"--save", "--log", "--trace", "--report"}) {
    INFO(flag);
    const auto pipe = place.path("pipe of " + flag);
    file_reader reader(new_pipe(pipe));
    const outcome result = place.run(run + flag + " 'pipe of " + flag + "'");
    INFO(result.err);
    CHECK(result.code == 0);
    CHECK(reader.text().size() > 100);
    CHECK(std::filesystem::is_fifo(pipe));
  }
}

TEST_CASE("a pipe whose reader goes away ends the run with a line") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  file_reader reader(new_pipe(place.path("pipe")), false);
  const outcome result = place.run("--model linear --quiet --epochs 100000 --log pipe");
  CHECK(result.code == 2);
  CHECK(result.err ==
        "lockstep-train: pipe: cannot write: Broken pipe; its reader has gone: keep it until all is written\n");
}

TEST_CASE("outputs keep symbolic links and the modes of files") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  for (const std::string flag : {"--save", "--log", "--trace", "--report"}) {
    INFO(flag);
    place.write("file", "before");
    std::filesystem::permissions(place.path("file"), std::filesystem::perms(0640));
    std::filesystem::remove(place.path("link"));
    std::filesystem::create_symlink("file", place.path("link"));
    const outcome result = place.run(run + flag + " link");
    INFO(result.err);
    CHECK(result.code == 0);
    CHECK(std::filesystem::is_symlink(place.path("link")));
    CHECK(place.read("file").size() > 100);
    CHECK(std::filesystem::status(place.path("file")).permissions() == std::filesystem::perms(0640));
  }
}
