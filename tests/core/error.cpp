// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/core/error.hpp>

#include <stdexcept>
#include <type_traits>

#include <lockstep/core/fixed_string.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

static_assert(std::is_base_of_v<std::runtime_error, ls::error>);
static_assert(std::is_base_of_v<ls::error, ls::shape_error>);
static_assert(std::is_base_of_v<ls::error, ls::value_error>);
static_assert(std::is_base_of_v<ls::error, ls::backend_error>);
static_assert(std::is_base_of_v<ls::error, ls::io_error>);
static_assert(std::is_base_of_v<ls::error, ls::replica_error>);

template <ls::fixed_string Name>
struct labelled {
  static constexpr std::string_view name = {Name.text, sizeof(Name.text) - 1};
};

static_assert(ls::fixed_string{"conv1"}.view() == "conv1");
static_assert(ls::fixed_string{""}.view().empty());
static_assert(labelled<"conv1">::name == "conv1");
static_assert(std::is_same_v<labelled<"a">, labelled<"a">>);
static_assert(!std::is_same_v<labelled<"a">, labelled<"b">>);
static_assert(!std::is_same_v<labelled<"a">, labelled<"aa">>);

}  // namespace

TEST_CASE("an error says what was expected, what came and what to do") {
  const ls::value_error with("sgd", "a learning rate of zero or more", "-1", "change its sign");
  CHECK(std::string(with.what()) == "lockstep: sgd: expected a learning rate of zero or more, got -1; change its sign");
  const ls::shape_error without("tensor", "zero samples or more", "-3");
  CHECK(std::string(without.what()) == "lockstep: tensor: expected zero samples or more, got -3");
  const ls::error whole("a sentence of its own");
  CHECK(std::string(whole.what()) == "a sentence of its own");
}

TEST_CASE("an io_error begins with the file and remembers it") {
  const ls::io_error e("model.safetensors", "the header ends after 3 of 8 bytes");
  CHECK(std::string(e.what()) == "lockstep: model.safetensors: the header ends after 3 of 8 bytes");
  CHECK(e.file() == "model.safetensors");
}

TEST_CASE("a replica_error names the replica and keeps what it threw") {
  const auto fail = [] {
    try {
      throw ls::value_error("cross_entropy", "a target in 0..9", "12");
    } catch (const ls::error& cause) {
      std::throw_with_nested(ls::replica_error(3, cause.what()));
    }
  };
  try {
    fail();
    FAIL("nothing was thrown");
  } catch (const ls::replica_error& e) {
    CHECK(e.replica() == 3);
    CHECK(std::string(e.what()) == "lockstep: replica 3: lockstep: cross_entropy: expected a target in 0..9, got 12");
    CHECK_THROWS_AS(std::rethrow_if_nested(e), ls::value_error);
  }
}
