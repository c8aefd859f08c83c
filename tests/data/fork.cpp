// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <optional>
#include <string>

#include <lockstep/data/loader.hpp>
#include <lockstep/data/synthetic.hpp>

#include "support/catch.hpp"
#include "support/in_child.hpp"

namespace ls = lockstep;
using lockstep_test::in_child;

TEST_CASE("a walk that a forked child inherits is refused there, and a new one works", "[loader]") {
  const auto [samples, test] = ls::data::synthetic({.train_samples = 40, .test_samples = 1});
  using loader_type = decltype(ls::data::loader{samples, {.batch = 4}});
  std::optional<loader_type> loader;
  loader.emplace(samples, ls::data::loader_options{.batch = 4});
  auto walk = loader->begin();
  CHECK(in_child([&] {
          bool refused = false;
          try {
            for (int i = 0; i < 20; ++i) ++walk;
          } catch (const ls::value_error& e) {
            refused = std::string(e.what()).find("fork()") != std::string::npos;
          }
          int batches = 0;
          for ([[maybe_unused]] auto&& each : *loader) ++batches;
          loader.reset();
          return (refused ? 0 : 100) + batches;
        }) == 10);
  int left = 0;
  for (; walk != loader->end(); ++walk) ++left;
  CHECK(left == 10);
}
