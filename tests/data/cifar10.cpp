// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/cifar10.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

using lockstep::data::cifar10;
using lockstep_test::bytes;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::random_bytes;
using lockstep_test::temporary_folder;

constexpr std::size_t record_size = 3073;

// One record a label; value v of record r is a function of both, so that no two places hold the same run of bytes.
bytes records(const std::vector<int>& labels) {
  bytes result;
  for (std::size_t r = 0; r < labels.size(); ++r) {
    result.push_back(static_cast<std::uint8_t>(labels[r]));
    for (std::size_t v = 1; v < record_size; ++v) result.push_back(static_cast<std::uint8_t>(r * 31 + v * 7 + v / 256));
  }
  return result;
}

std::string message(const temporary_folder& folder) {
  return io_error_of([&] { (void)cifar10(folder.path()); });
}

}  // namespace

TEST_CASE("cifar10: reads every batch in rising order", "[data]") {
  const temporary_folder folder;
  folder.write("data_batch_10.bin", records({7}));
  folder.write("data_batch_2.bin", records({3, 4, 5}));
  folder.write("data_batch_1.bin", records({9, 0}));
  folder.write("data_batch_.bin", "no number");
  folder.write("data_batch_1.bin.part", "half");
  folder.write("data_batch_x.bin", "no number");
  folder.write("test_batch.bin", records({8}));
  const auto [train, test] = cifar10(folder.path());
  CHECK(std::vector<std::int64_t>(train.labels().begin(), train.labels().end()) ==
        std::vector<std::int64_t>{9, 0, 3, 4, 5, 7});
  CHECK(test.size() == 1);
  CHECK(test.label(0) == 8);
  CHECK(train.classes() == 10);
  CHECK(train.class_names().empty());
  const bytes second = records({3, 4, 5});
  const auto image = train.image(4);  // the third record of data_batch_2.bin
  CHECK(std::equal(second.begin() + 2 * record_size + 1, second.end(), image.data_handle()));
  CHECK(image(1, 2, 3) == second[2 * record_size + 1 + 1024 + 64 + 3]);
}

TEST_CASE("cifar10: reads class names", "[data]") {
  const temporary_folder folder;
  folder.write("data_batch_1.bin", records({1}));
  folder.write("test_batch.bin", records({1}));
  SECTION("one a line, with blank lines and carriage returns") {
    folder.write("batches.meta.txt", "a\r\nb\nc\nd\ne\nf\ng\nh\ni\nsea horse\n\n");
    const auto [train, test] = cifar10(folder.path());
    CHECK(train.class_names() == std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h", "i", "sea horse"});
    CHECK(test.class_names() == train.class_names());
  }
  SECTION("nine are refused") {
    folder.write("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\n");
    CHECK(lacking(message(folder), {"batches.meta.txt", "got 9"}) == "");
  }
  SECTION("an empty file is refused") {
    folder.write("batches.meta.txt", "");
    CHECK(lacking(message(folder), {"batches.meta.txt", "got 0"}) == "");
  }
  SECTION("random bytes are refused") {
    folder.write("batches.meta.txt", random_bytes(300, 1));
    CHECK(lacking(message(folder), {"batches.meta.txt", "control character"}) == "");
  }
  SECTION("a file that is too long is refused") {
    folder.write("batches.meta.txt", bytes(5000, 'a'));
    CHECK(lacking(message(folder), {"batches.meta.txt", "got 5000 bytes"}) == "");
  }
}

TEST_CASE("cifar10: names the missing file", "[data]") {
  const temporary_folder folder;
  CHECK(lacking(message(folder), {folder.path().string(), "data_batch_1.bin"}) == "");
  folder.write("test_batch.bin", records({1}));
  CHECK(lacking(message(folder), {"data_batch_1.bin"}) == "");
  folder.write("data_batch_1", "pickle");
  CHECK(lacking(message(folder), {"Python version", "binary version"}) == "");
  folder.write("data_batch_1.bin", records({1}));
  CHECK_NOTHROW(cifar10(folder.path()));
  folder.remove("test_batch.bin");
  CHECK(lacking(message(folder), {"test_batch.bin", "No such file"}) == "");
  CHECK(lacking(io_error_of([&] { (void)cifar10(folder.path() / "absent"); }), {"absent"}) == "");
  CHECK(lacking(io_error_of([&] { (void)cifar10(folder.path() / "data_batch_1.bin"); }), {"expected a folder"}) == "");
}

TEST_CASE("cifar10: refuses damaged files", "[data]") {
  const temporary_folder folder;
  folder.write("data_batch_1.bin", records({1, 2}));
  folder.write("data_batch_2.bin", records({3}));
  folder.write("test_batch.bin", records({1}));
  CHECK_NOTHROW(cifar10(folder.path()));
  const std::string victim = GENERATE(as<std::string>(), "data_batch_1.bin", "data_batch_2.bin", "test_batch.bin");
  bytes content = records({4, 5, 6});
  SECTION("empty") {
    folder.write(victim, bytes{});
    CHECK(lacking(message(folder), {victim, "got 0 bytes"}) == "");
  }
  SECTION("one byte short") {
    content.pop_back();
    folder.write(victim, content);
    CHECK(lacking(message(folder), {victim, "got 9218 bytes", "3073"}) == "");
  }
  SECTION("one byte too many") {
    content.push_back(0);
    folder.write(victim, content);
    CHECK(lacking(message(folder), {victim, "got 9220 bytes"}) == "");
  }
  SECTION("a label too large") {
    content[2 * record_size] = 10;
    folder.write(victim, content);
    CHECK(lacking(message(folder), {victim, "got 10 in record 2"}) == "");
  }
  SECTION("random bytes of a fitting length") {
    folder.write(victim, random_bytes(40 * record_size, 5));
    CHECK(lacking(message(folder), {victim, "labels from 0 to 9"}) == "");
  }
}

TEST_CASE("cifar10: passes over a folder that has the name of a file", "[data]") {
  const temporary_folder folder;
  folder.write("data_batch_1.bin", records({1, 2}));
  folder.write("test_batch.bin", records({1}));
  for (const char* name : {"data_batch_2.bin", "batches.meta.txt"})
    std::filesystem::create_directory(folder.path() / name);
  const auto [train, test] = cifar10(folder.path());
  CHECK(train.size() == 2);
  CHECK(train.class_names().empty());
  folder.remove("test_batch.bin");
  std::filesystem::create_directory(folder.path() / "test_batch.bin");
  CHECK(lacking(message(folder), {"test_batch.bin", "expected a file, got a directory"}) == "");
}

TEST_CASE("cifar10: says which batches are missing, and uses the others", "[data]") {
  const temporary_folder folder;
  folder.write("test_batch.bin", records({1}));
  for (const int number : {2, 3, 5})
    folder.write("data_batch_" + std::to_string(number) + ".bin", records({number, 0}));
  const auto [train, test] = cifar10(folder.path());
  CHECK(train.size() == 6);
  CHECK(lacking(train.note(), {folder.path().string(), "found 3 of CIFAR-10's 5 training files",
                               "without data_batch_1.bin, data_batch_4.bin;"}) == "");
  CHECK(train.note().find('\n') == std::string::npos);
  CHECK(test.note().empty());
  for (const int number : {1, 4}) folder.write("data_batch_" + std::to_string(number) + ".bin", records({number}));
  CHECK(cifar10(folder.path()).train.note().empty());
}

TEST_CASE("cifar10: reads the published files", "[data]") {
  const std::filesystem::path folder = std::filesystem::path(LOCKSTEP_SHARED_DATA_DIR) / "cifar10";
  if (!std::filesystem::exists(folder)) LOCKSTEP_SKIP("no CIFAR-10 at " + folder.string());
  const auto [train, test] = cifar10(folder);
  CHECK(train.size() == 20'000);
  CHECK(test.size() == 5'000);
  REQUIRE(train.class_names().size() == 10);
  CHECK(train.class_names()[0] == "airplane");
  CHECK(train.class_names()[9] == "truck");

  for (const auto* set : {&train, &test}) {
    std::vector<std::int64_t> count(10);
    for (const auto label : set->labels()) ++count.at(static_cast<std::size_t>(label));
    const auto [fewest, most] = std::minmax_element(count.begin(), count.end());
    CHECK(*fewest > set->size() / 12);
    CHECK(*most < set->size() / 8);
    // The published channel means are 0.4914, 0.4822, 0.4465 of 255.
    const double expected[] = {125.3, 123.0, 113.9};
    double sum[3] = {};
    for (std::int64_t i = 0; i < set->size(); ++i)
      for (std::size_t c = 0; c < 3; ++c) {
        const auto* plane = set->image(i).data_handle() + c * 1024;
        sum[c] += std::accumulate(plane, plane + 1024, 0.0) / 1024;
      }
    for (std::size_t c = 0; c < 3; ++c)
      CHECK(sum[c] / static_cast<double>(set->size()) == Approx(expected[c]).margin(2));
  }

  const auto compare = [&](const char* name, std::int64_t record, const auto& set, std::int64_t index) {
    std::ifstream file(folder / name, std::ios::binary);
    file.seekg(record * static_cast<std::int64_t>(record_size));
    std::vector<char> raw(record_size);
    REQUIRE(file.read(raw.data(), record_size));
    CHECK(set.label(index) == raw[0]);
    CHECK(std::equal(raw.begin() + 1, raw.end(), set.image(index).data_handle(),
                     [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; }));
  };
  compare("data_batch_1.bin", 0, train, 0);
  compare("data_batch_2.bin", 0, train, 10'000);
  compare("data_batch_2.bin", 9'999, train, 19'999);
  compare("test_batch.bin", 4'999, test, 4'999);
}
