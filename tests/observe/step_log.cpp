// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/step_log.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include <unistd.h>

#include <lockstep/core/error.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

/// A file name that no other test uses; the file is removed at the end.
struct scratch_name {
  scratch_name() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lockstep-log-XXXXXX").string();
    const int file = ::mkstemp(pattern.data());
    REQUIRE(file >= 0);
    ::close(file);
    path = pattern;
  }
  scratch_name(const scratch_name&) = delete;
  scratch_name& operator=(const scratch_name&) = delete;
  ~scratch_name() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }

  [[nodiscard]] std::string text() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string path;
};

}  // namespace

TEST_CASE("a log holds each line as soon as it is written") {
  const scratch_name file;
  std::ofstream(file.path) << "what was there before";
  ls::step_log log(file.path);
  CHECK(file.text().empty());
  log.step(1, 2.5, 1000);
  CHECK(file.text() == "{\"step\":1,\"loss\":2.5,\"samples_per_s\":1000}\n");
  log.write({{"epoch", std::int64_t{1}}, {"test_accuracy", 0.1}});
  CHECK(file.text() == "{\"step\":1,\"loss\":2.5,\"samples_per_s\":1000}\n{\"epoch\":1,\"test_accuracy\":0.1}\n");
}

TEST_CASE("numbers that JSON lacks become null") {
  const scratch_name file;
  ls::step_log log(file.path);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  log.write({{"a", std::nan("")}, {"b", infinity}, {"c", -infinity}, {"d", -0.0}});
  CHECK(file.text() == "{\"a\":null,\"b\":null,\"c\":null,\"d\":-0}\n");
}

TEST_CASE("a logged double reads back to the same bits") {
  for (const double value : {1.0 / 3.0, 6.02214076e23, 5e-324, 1.7976931348623157e308, 0.1F * 1.0, -2.5}) {
    const scratch_name file;
    ls::step_log log(file.path);
    log.write({{"x", value}});
    const std::string text = file.text();
    REQUIRE(text.rfind("{\"x\":", 0) == 0);
    CHECK(std::strtod(text.c_str() + 5, nullptr) == value);
  }
}

TEST_CASE("a log that cannot be written throws an io_error that names the file") {
  try {
    const ls::step_log log("/no/such/folder/log");
    FAIL("it was opened");
  } catch (const ls::io_error& error) {
    CHECK(error.file() == "/no/such/folder/log");
  }
  if (std::filesystem::exists("/dev/full")) {
    ls::step_log full("/dev/full");
    CHECK_THROWS_AS(full.step(1, 1, 1), ls::io_error);
  }
}

TEST_CASE("a log goes on after the lines of the steps and epochs that are done", "[step_log]") {
  const scratch_name name;
  const std::string kept =
      "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":1}\n{\"epoch\":1,\"test_loss\":1}\n{\"step\":3}\n";
  const auto go_on = [&](const std::string& before, const ls::log_place& at) {
    {
      std::ofstream file(name.path, std::ios::binary | std::ios::trunc);
      file << before;
    }
    ls::step_log log(name.path, at);
    log.write({{"step", std::int64_t{9}}});
    return name.text();
  };
  const std::string next = "{\"step\":9}\n";
  CHECK(go_on(kept, {3, 1}) == kept + next);
  CHECK(go_on(kept + "{\"step\":4}\n{\"step\":5}\n", {3, 1}) == kept + next);
  CHECK(go_on(kept + "{\"epoch\":2}\n", {3, 1}) == kept + next);
  CHECK(go_on(kept + "{\"step\":4", {3, 1}) == kept + next);
  CHECK(go_on(kept + "{\"step\":4", {100, 100}) == kept + next);  // a line that was not written to its end
  CHECK(go_on("{\"step\":1}\n" + kept, {0, 0}) == next);
  CHECK(go_on("", {3, 1}) == next);
  CHECK(go_on("{\"other\":7}\n", {3, 1}) == "{\"other\":7}\n" + next);
  std::filesystem::remove(name.path);
  {
    ls::step_log log(name.path, {3, 1});
    log.write({{"step", std::int64_t{4}}});
  }
  CHECK(name.text() == "{\"step\":4}\n");
  CHECK_NOTHROW(ls::step_log("/dev/null", {3, 1}));
  CHECK_THROWS_AS(ls::step_log("no/such/folder/log", {3, 1}), ls::io_error);
}
