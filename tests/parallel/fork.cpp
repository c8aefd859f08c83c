// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <optional>
#include <string>

#include <lockstep/parallel/predictor.hpp>

#include "parallel/one_device.hpp"
#include "support/in_child.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

const auto x = draws<float>(1, 8 * 6);
const auto targets = draws<float>(2, 8 * 3);

/// 1 when a step says that the process was forked, 2 when it is made, 3 when it fails for another reason.
template <class Trainer>
int step_in_child(Trainer& trainer) {
  try {
    static_cast<void>(trainer.step(batch<small_regression>(x), targets));
    return 2;
  } catch (const ls::value_error& e) {
    return std::string(e.what()).find("fork()") != std::string::npos ? 1 : 3;
  }
}

}  // namespace

TEST_CASE("a forked child is told that the trainer's threads are not there", "[data_parallel]") {
  ls::data_parallel<small_regression, 2> trainer;
  static_cast<void>(trainer.step(batch<small_regression>(x), targets));
  CHECK(in_child([&] { return step_in_child(trainer); }) == 1);
  // The parent's trainer goes on.
  CHECK(trainer.steps() == 1);
  static_cast<void>(trainer.step(batch<small_regression>(x), targets));
  CHECK(trainer.steps() == 2);
}

TEST_CASE("a trainer with a time limit is refused in a forked child, and can be destroyed there", "[data_parallel]") {
  std::optional<ls::data_parallel<small_regression, 1>> trainer;
  trainer.emplace(ls::sgd{}, ls::mean_squared_error{},
                  ls::trainer_options{.time_limit = 100, .on_stall = [](const ls::stall_report&) {}});
  CHECK(in_child([&] {
          const int result = step_in_child(*trainer);
          trainer.reset();
          return result;
        }) == 1);
}

TEST_CASE("a trainer of several replicas can be destroyed in a forked child", "[data_parallel]") {
  std::optional<ls::data_parallel<small_regression, 3>> trainer;
  trainer.emplace();
  CHECK(in_child([&] {
          trainer.reset();
          ls::data_parallel<small_regression, 3> own;
          return step_in_child(own);
        }) == 2);
}

TEST_CASE("a trainer without threads works in a forked child too", "[data_parallel]") {
  ls::data_parallel<small_regression, 1> trainer;
  CHECK(in_child([&] { return step_in_child(trainer); }) == 2);
}

TEST_CASE("a predictor in a forked child says that its threads are not there, and can be destroyed", "[predictor]") {
  std::optional<ls::predictor<small_regression, 2>> server;
  server.emplace();
  const auto expected = server->predict(batch<small_regression>(x));
  CHECK(in_child([&] {
          int result = 2;
          try {
            static_cast<void>(server->predict(batch<small_regression>(x)));
          } catch (const ls::value_error& e) {
            result = std::string(e.what()).find("fork()") != std::string::npos ? 1 : 3;
          }
          server.reset();
          return result;
        }) == 1);
  const auto again = server->predict(batch<small_regression>(x));
  CHECK(std::equal(again.begin(), again.end(), expected.begin(), expected.end()));
}
