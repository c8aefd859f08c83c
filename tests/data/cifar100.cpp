// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/cifar100.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

using lockstep::data::cifar100;
using lockstep::data::cifar100_label;
using lockstep_test::bytes;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::temporary_folder;

constexpr std::size_t pixels = 3072;

// One record for each pair of a coarse and a fine label.
bytes records(const std::vector<std::pair<int, int>>& labels) {
  bytes result;
  for (std::size_t r = 0; r < labels.size(); ++r) {
    result.push_back(static_cast<std::uint8_t>(labels[r].first));
    result.push_back(static_cast<std::uint8_t>(labels[r].second));
    for (std::size_t v = 0; v < pixels; ++v) result.push_back(static_cast<std::uint8_t>(r * 31 + v * 7 + v / 256));
  }
  return result;
}

std::string lines(const std::string& stem, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += stem + std::to_string(i) + "\n";
  return text;
}

void write_good(const temporary_folder& folder) {
  folder.write("train.bin", records({{19, 99}, {0, 7}, {4, 0}}));
  folder.write("test.bin", records({{3, 42}}));
}

std::string message(const temporary_folder& folder) {
  return io_error_of([&] { (void)cifar100(folder.path()); });
}

std::vector<std::int64_t> list(std::span<const std::int64_t> labels) { return {labels.begin(), labels.end()}; }

}  // namespace

TEST_CASE("cifar100: reads pictures with fine labels, or with coarse ones", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  const auto [train, test] = cifar100(folder.path());
  CHECK(list(train.labels()) == std::vector<std::int64_t>{99, 7, 0});
  CHECK(list(test.labels()) == std::vector<std::int64_t>{42});
  CHECK(train.classes() == 100);
  const bytes raw = records({{19, 99}, {0, 7}, {4, 0}});
  CHECK(std::equal(raw.end() - pixels, raw.end(), train.image(2).data_handle()));
  CHECK(train.image(1)(2, 31, 31) == raw[2 * (pixels + 2) - 1]);

  const auto coarse = cifar100(folder.path(), cifar100_label::coarse);
  CHECK(list(coarse.train.labels()) == std::vector<std::int64_t>{19, 0, 4});
  CHECK(coarse.train.classes() == 20);
  CHECK(std::equal(coarse.train.pixels().begin(), coarse.train.pixels().end(), train.pixels().begin()));
}

TEST_CASE("cifar100: reads the names of the classes that it gives", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  folder.write("fine_label_names.txt", lines("fine ", 100));
  folder.write("coarse_label_names.txt", lines("coarse ", 20));
  CHECK(cifar100(folder.path()).test.class_names()[42] == "fine 42");
  CHECK(cifar100(folder.path(), cifar100_label::coarse).train.class_names()[19] == "coarse 19");
  folder.write("fine_label_names.txt", lines("fine ", 99));
  CHECK(lacking(message(folder), {"fine_label_names.txt", "expected 100 class names, one a line, got 99"}) == "");
}

TEST_CASE("cifar100: refuses what is missing or damaged", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  SECTION("no training file") {
    folder.remove("train.bin");
    CHECK(lacking(message(folder), {"train.bin", "No such file"}) == "");
    folder.write("train", "pickle");
    CHECK(lacking(message(folder), {"Python version", "train.bin"}) == "");
  }
  SECTION("no test file") {
    folder.remove("test.bin");
    CHECK(lacking(message(folder), {"test.bin", "No such file"}) == "");
  }
  SECTION("the records of CIFAR-10") {
    folder.write("train.bin", bytes(3073 * 5));
    CHECK(lacking(message(folder), {"train.bin", "CIFAR-100 records of 3074 bytes", "3069 left over"}) == "");
  }
  SECTION("a fine label too large") {
    folder.write("train.bin", records({{1, 2}, {3, 100}}));
    CHECK(lacking(message(folder), {"train.bin", "labels from 0 to 99, got 100 in record 1"}) == "");
  }
  SECTION("a coarse label too large") {
    folder.write("test.bin", records({{20, 2}}));
    CHECK(lacking(message(folder), {"test.bin", "labels from 0 to 19, got 20 in record 0"}) == "");
  }
}
