// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/synthetic.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

using lockstep::data::synthetic;

std::uint64_t fnv1a(std::span<const std::uint8_t> bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211ULL;
  return hash;
}

// Mean absolute difference between neighbours down a column and along a row, around the middle of the picture.
std::array<double, 2> roughness(lockstep::tensor_view<const std::uint8_t, lockstep::shape<3, 32, 32>> image) {
  std::array<double, 2> sum{};
  for (int c = 0; c < 3; ++c)
    for (int y = 12; y < 20; ++y)
      for (int x = 12; x < 20; ++x) {
        sum[0] += std::abs(int{image(c, y, x)} - int{image(c, y + 1, x)});
        sum[1] += std::abs(int{image(c, y, x)} - int{image(c, y, x + 1)});
      }
  return {sum[0] / 192, sum[1] / 192};
}

}  // namespace

TEST_CASE("synthetic: draws the same bytes everywhere", "[data]") {
  const auto [train, test] = synthetic({.train_samples = 20, .test_samples = 10, .seed = {42}});
  CHECK(fnv1a(train.pixels()) == 10706880208894044558ULL);
  CHECK(fnv1a(test.pixels()) == 7709058429151644828ULL);
}

TEST_CASE("synthetic: has the sizes asked for and balanced, named classes", "[data]") {
  const auto [train, test] = synthetic();
  CHECK(train.size() == 6'400);
  CHECK(test.size() == 1'000);
  CHECK(train.classes() == 10);
  CHECK(train.class_names().size() == 10);
  for (std::int64_t kind = 0; kind < 10; ++kind)
    CHECK(std::count(test.labels().begin(), test.labels().end(), kind) == 100);
  const auto empty = synthetic({.train_samples = 0, .test_samples = 3});
  CHECK(empty.train.size() == 0);
  CHECK(empty.test.size() == 3);
  CHECK_THROWS_AS(synthetic({.train_samples = -1}), lockstep::value_error);
  CHECK_THROWS_AS(synthetic({.test_samples = -1}), lockstep::value_error);
}

TEST_CASE("synthetic: a sample depends on seed, part and index alone", "[data]") {
  const auto few = synthetic({.train_samples = 20, .test_samples = 20, .seed = {7}});
  const auto many = synthetic({.train_samples = 50, .test_samples = 30, .seed = {7}});
  const auto other = synthetic({.train_samples = 20, .test_samples = 20, .seed = {8}});
  const auto begins_with = [](const auto& a, const auto& b) {
    return std::equal(b.pixels().begin(), b.pixels().end(), a.pixels().begin());
  };
  CHECK(begins_with(many.train, few.train));
  CHECK(begins_with(many.test, few.test));
  CHECK_FALSE(begins_with(few.train, few.test));
  for (std::int64_t i = 0; i < 20; ++i)
    CHECK_FALSE(std::equal(few.train.image(i).data_handle(), few.train.image(i).data_handle() + 3072,
                           other.train.image(i).data_handle()));
}

TEST_CASE("synthetic: no pixel's mean tells the class", "[data]") {
  const auto [train, test] = synthetic({.train_samples = 10'000, .test_samples = 0});
  // Brightness ranges over about 60 either side of the middle, so the mean of 1000 draws strays by about 2.
  for (std::int64_t kind = 0; kind < 10; ++kind)
    for (const auto [y, x] : {std::array{0, 0}, std::array{16, 16}, std::array{8, 16}, std::array{12, 12}}) {
      double sum = 0;
      for (std::int64_t i = kind; i < train.size(); i += 10) sum += train.image(i)(1, y, x);
      INFO("class " << kind << " at " << y << ", " << x);
      CHECK(sum / 1'000 == Approx(127.5).margin(10));
    }
}

TEST_CASE("synthetic: the figures are what their names say", "[data]") {
  const auto [train, test] = synthetic({.train_samples = 1'000, .test_samples = 0});
  const auto& names = train.class_names();
  for (std::int64_t i = 0; i < train.size(); ++i) {
    const auto image = train.image(i);
    const std::string& name = names[static_cast<std::size_t>(train.label(i))];
    const auto [down, along] = roughness(image);
    INFO("sample " << i << ", a " << name);
    if (name == "rows") CHECK(down > along + 5);
    if (name == "columns") CHECK(along > down + 5);
    if (name == "checkers") CHECK((down > 25 && along > 25));
    // The middle of the picture lies within every figure's hull; the corner lies outside all of them.
    const auto contrast = [&](int y, int x) {
      int difference = 0;
      for (int c = 0; c < 3; ++c)
        for (int dy = 0; dy < 2; ++dy)
          for (int dx = 0; dx < 2; ++dx) difference += std::abs(int{image(c, y + dy, x + dx)} - int{image(c, dy, dx)});
      return difference;
    };
    if (name == "disc" || name == "square") CHECK(contrast(16, 16) > 250);
    if (name == "ring" || name == "frame") CHECK(contrast(16, 16) < 600);
  }
}
