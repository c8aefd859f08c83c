// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/idx.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

using lockstep::data::idx;
using lockstep_test::bytes;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::random_bytes;
using lockstep_test::temporary_folder;

void append_big_endian(bytes& out, std::uint32_t value) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

bytes images(std::uint32_t count, std::uint32_t rows = 28, std::uint32_t columns = 28) {
  bytes result{0, 0, 8, 3};
  append_big_endian(result, count);
  append_big_endian(result, rows);
  append_big_endian(result, columns);
  for (std::uint32_t i = 0; i < count * rows * columns; ++i)
    result.push_back(static_cast<std::uint8_t>(i * 13 + i / 784));
  return result;
}

bytes labels(const std::vector<int>& values) {
  bytes result{0, 0, 8, 1};
  append_big_endian(result, static_cast<std::uint32_t>(values.size()));
  for (const int value : values) result.push_back(static_cast<std::uint8_t>(value));
  return result;
}

void write_good(const temporary_folder& folder) {
  folder.write("train-images-idx3-ubyte", images(3));
  folder.write("train-labels-idx1-ubyte", labels({9, 0, 4}));
  folder.write("t10k-images-idx3-ubyte", images(2));
  folder.write("t10k-labels-idx1-ubyte", labels({5, 6}));
}

std::string message(const temporary_folder& folder) {
  return io_error_of([&] { (void)idx(folder.path()); });
}

}  // namespace

TEST_CASE("idx: reads images and labels", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  const auto [train, test] = idx(folder.path());
  CHECK(train.size() == 3);
  CHECK(test.size() == 2);
  CHECK(train.classes() == 10);  // the largest label is 9
  CHECK(std::vector<std::int64_t>(train.labels().begin(), train.labels().end()) == std::vector<std::int64_t>{9, 0, 4});
  CHECK(test.label(1) == 6);
  const bytes raw = images(3);
  CHECK(std::equal(raw.begin() + 16, raw.end(), train.pixels().begin(), train.pixels().end()));
  CHECK(train.image(2)(0, 3, 4) == raw[16 + 2 * 784 + 3 * 28 + 4]);
}

TEST_CASE("idx: reads counts above 255 in big-endian order", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  folder.write("t10k-images-idx3-ubyte", images(258));
  folder.write("t10k-labels-idx1-ubyte", labels(std::vector<int>(258, 7)));
  CHECK(idx(folder.path()).test.size() == 258);
}

TEST_CASE("idx: a dot may stand before idx", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  for (const char* name : {"train-images", "t10k-images"})
    std::filesystem::rename(folder.path() / (std::string(name) + "-idx3-ubyte"),
                            folder.path() / (std::string(name) + ".idx3-ubyte"));
  CHECK(idx(folder.path()).train.size() == 3);
}

TEST_CASE("idx: names the missing file", "[data]") {
  const temporary_folder folder;
  const std::string victim = GENERATE(as<std::string>(), "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                      "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");
  write_good(folder);
  folder.remove(victim);
  CHECK(lacking(message(folder), {victim, "found none of them"}) == "");
}

TEST_CASE("idx: passes over a folder beside the right file", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  for (const char* stem : {"train-images", "t10k-labels"}) {
    const std::string ending = std::string(stem).ends_with("images") ? "idx3-ubyte" : "idx1-ubyte";
    std::filesystem::rename(folder.path() / (std::string(stem) + "-" + ending),
                            folder.path() / (std::string(stem) + "." + ending));
    std::filesystem::create_directory(folder.path() / (std::string(stem) + "-" + ending));
  }
  CHECK(idx(folder.path()).train.size() == 3);
  folder.remove("train-images.idx3-ubyte");
  CHECK(lacking(message(folder), {"train-images-idx3-ubyte", "found a folder of that name"}) == "");
}

TEST_CASE("idx: images may have any number of rows, columns and channels", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  folder.write("train-images-idx3-ubyte", images(3, 7, 50));
  folder.write("t10k-images-idx3-ubyte", images(2, 7, 50));
  SECTION("bytes") {
    const auto [train, test] = idx<lockstep::shape<1, 7, 50>>(folder.path());
    CHECK(train.size() == 3);
    CHECK(train.image(2)(0, 6, 49) == images(3, 7, 50).back());
    CHECK(train.label(0) == 9);
  }
  SECTION("without the channel") { CHECK(idx<lockstep::shape<7, 50>>(folder.path()).test.size() == 2); }
  SECTION("bytes as floats") {
    const auto [train, test] = idx<lockstep::data::field<float, 7, 50>>(folder.path());
    CHECK(train.size() == 3);
    const bytes raw = images(3, 7, 50);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < 3 * 350; ++i)
      wrong += train.values<0>()[i] == static_cast<float>(raw[16 + i]) / 255.0F ? 0 : 1;
    CHECK(wrong == 0);
    CHECK(train.values<1>()[2] == 4);
  }
  SECTION("a mismatch says both shapes") {
    CHECK(lacking(message(folder), {"t10k-images", "expected images of 1x28x28", "got 7x50"}) == "");
    CHECK(lacking(io_error_of([&] { (void)idx<lockstep::shape<1, 50, 7>>(folder.path()); }),
                  {"expected images of 1x50x7", "got 7x50"}) == "");
    CHECK(lacking(io_error_of([&] { (void)idx<lockstep::shape<3, 7, 50>>(folder.path()); }),
                  {"of 4 dimensions, got 3"}) == "");
  }
  SECTION("colour pictures have one dimension more") {
    bytes colour = images(3, 6, 50);
    colour[3] = 4;
    bytes extents;
    for (const std::uint32_t extent : {3U, 3U, 2U, 50U}) append_big_endian(extents, extent);
    colour.erase(colour.begin() + 4, colour.begin() + 16);
    colour.insert(colour.begin() + 4, extents.begin(), extents.end());
    folder.remove("train-images-idx3-ubyte");
    folder.remove("t10k-images-idx3-ubyte");
    folder.write("train-images-idx4-ubyte", colour);
    folder.write("t10k-images.idx4-ubyte", colour);
    folder.write("t10k-labels-idx1-ubyte", labels({1, 2, 3}));
    const auto [train, test] = idx<lockstep::shape<3, 2, 50>>(folder.path());
    CHECK(train.size() == 3);
    CHECK(train.image(1)(2, 1, 49) == colour[20 + 599]);
  }
}

TEST_CASE("idx: reads floats as they are", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  // 1, -2.5, the smallest float above 0, infinity, 0.1 and -0, by their bits.
  bytes floats{0, 0, 0x0d, 3};
  for (const std::uint32_t word : {3U, 1U, 2U, 0x3F800000U, 0xC0200000U, 1U, 0x7F800000U, 0x3DCCCCCDU, 0x80000000U})
    append_big_endian(floats, word);
  folder.write("train-images-idx3-ubyte", floats);
  folder.remove("t10k-images-idx3-ubyte");
  folder.write("t10k-images-idx3-float", floats);
  folder.write("t10k-labels-idx1-ubyte", labels({5, 6, 7}));
  const auto [train, test] = idx<lockstep::data::field<float, 1, 2>>(folder.path());
  const std::vector<float> expected{1.0F, -2.5F, 0x1p-149F, std::numeric_limits<float>::infinity(), 0.1F, -0.0F};
  CHECK(std::vector<float>(train.values<0>().begin(), train.values<0>().end()) == expected);
  CHECK(std::signbit(test.values<0>()[5]));
  CHECK(lacking(io_error_of([&] { (void)idx<lockstep::shape<1, 2>>(folder.path()); }),
                {"got type 13 (floats)", "idx<field<float, ...>>"}) == "");
  floats.pop_back();
  folder.write("train-images-idx3-ubyte", floats);
  CHECK(lacking(io_error_of([&] { (void)idx<lockstep::data::field<float, 1, 2>>(folder.path()); }),
                {"train-images", "expected 40 bytes", "truncated"}) == "");
}

TEST_CASE("idx: names the element types that it refuses", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  const auto [code, name] = GENERATE(table<int, std::string>({{0x09, "type 9 (signed bytes)"},
                                                              {0x0B, "type 11 (16-bit integers)"},
                                                              {0x0C, "type 12 (32-bit integers)"},
                                                              {0x0E, "type 14 (doubles)"},
                                                              {0x0A, "type 10, which is none"}}));
  bytes content = images(2);
  content[2] = static_cast<std::uint8_t>(code);
  folder.write("t10k-images-idx3-ubyte", content);
  CHECK(lacking(message(folder), {"t10k-images", name, "(unsigned bytes), got"}) == "");
  CHECK(lacking(io_error_of([&] { (void)idx<lockstep::data::field<float, 28, 28>>(folder.path()); }),
                {"(unsigned bytes) or 13 (floats), got", name}) == "");
  write_good(folder);
  bytes wide = labels({1, 2});
  wide[2] = static_cast<std::uint8_t>(code);
  folder.write("t10k-labels-idx1-ubyte", wide);
  CHECK(lacking(message(folder), {"t10k-labels", name}) == "");
}

TEST_CASE("idx: has as many classes as the largest label says", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  folder.write("t10k-labels-idx1-ubyte", labels({255, 0}));
  const auto [train, test] = idx(folder.path());
  CHECK(train.classes() == 256);
  CHECK(test.classes() == 256);
  folder.write("t10k-labels-idx1-ubyte", labels({1, 0}));
  folder.write("train-labels-idx1-ubyte", labels({0, 1, 1}));
  CHECK(idx(folder.path()).train.classes() == 2);
}

TEST_CASE("idx: says that a packed file must be unpacked", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  const bytes packed{0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03};
  SECTION("under its unpacked name") {
    folder.write("train-images-idx3-ubyte", packed);
    CHECK(lacking(message(folder), {"train-images-idx3-ubyte", "gunzip", "gzip{}"}) == "");
  }
  SECTION("under its own name") {
    folder.remove("t10k-labels-idx1-ubyte");
    folder.write("t10k-labels-idx1-ubyte.gz", packed);
    CHECK(lacking(message(folder), {"t10k-labels-idx1-ubyte.gz", "gunzip", "gzip{}"}) == "");
  }
}

TEST_CASE("idx: refuses damaged images", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  const std::string victim = GENERATE(as<std::string>(), "train-images-idx3-ubyte", "t10k-images-idx3-ubyte");
  bytes content = images(victim[1] == 'r' ? 3 : 2);
  const auto refuses = [&](const std::string& reason) {
    folder.write(victim, content);
    const std::string text = message(folder);
    CHECK(lacking(text, {reason}) == "");
    const bool blames_labels = reason == "5 images, got";
    CHECK(lacking(text, {victim.substr(0, victim.find('-')) + (blames_labels ? "-labels" : "-images")}) == "");
  };
  SECTION("empty") { content.clear(), refuses("header of 16 bytes"); }
  SECTION("one byte") { content.resize(1), refuses("header of 16 bytes"); }
  SECTION("half a header") { content.resize(9), refuses("header of 16 bytes"); }
  SECTION("header alone") { content.resize(16), refuses("truncated"); }
  SECTION("one byte short") { content.pop_back(), refuses("truncated"); }
  SECTION("one byte too many") { content.push_back(1), refuses("followed by something else"); }
  SECTION("other magic") { content[0] = 1, refuses("two zero bytes, got 1 and 0"); }
  SECTION("other element type") { content[2] = 0x0d, refuses("type 8 (unsigned bytes), got type 13"); }
  SECTION("labels in its place") { content = labels({1, 2, 3, 4, 5, 6, 7, 8, 9, 0}), refuses("3 dimensions, got 1"); }
  SECTION("no images") { content = images(0), refuses("one image or more"); }
  SECTION("other rows") { content = images(2, 32, 28), refuses("got 32x28"); }
  SECTION("other columns") { content = images(2, 28, 27), refuses("got 28x27"); }
  SECTION("rows and columns swapped around") { content = images(2, 14, 56), refuses("got 14x56"); }
  SECTION("a huge count") {
    for (std::size_t i = 4; i < 8; ++i) content[i] = 0xff;
    refuses("expected 3367254359296 bytes");
  }
  SECTION("more images than labels") { content = images(5), refuses("5 images, got"); }
  SECTION("random bytes") { content = random_bytes(5000, 3), refuses("two zero bytes"); }
}

TEST_CASE("idx: refuses damaged labels", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  const std::string victim = "train-labels-idx1-ubyte";
  bytes content = labels({9, 0, 4});
  const auto refuses = [&](const std::string& reason) {
    folder.write(victim, content);
    CHECK(lacking(message(folder), {victim, reason}) == "");
  };
  SECTION("empty") { content.clear(), refuses("header of 8 bytes"); }
  SECTION("one byte short") { content.pop_back(), refuses("truncated"); }
  SECTION("one byte too many") { content.push_back(0), refuses("followed by something else"); }
  SECTION("one label too few") { content = labels({1, 2}), refuses("3 images, got 2"); }
  SECTION("one label too many") { content = labels({1, 2, 3, 4}), refuses("3 images, got 4"); }
  SECTION("images in its place") { content = images(3), refuses("1 dimension, got 3"); }
  SECTION("random bytes") { content = random_bytes(11, 4), refuses("two zero bytes"); }
}

TEST_CASE("idx: never takes random headers", "[data]") {
  const temporary_folder folder;
  write_good(folder);
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    bytes content = images(3);
    const bytes noise = random_bytes(16, seed);
    // Keep a prefix of the true header, so that every later check meets noise too.
    const std::size_t kept = seed % 16;
    std::copy(noise.begin() + static_cast<std::ptrdiff_t>(kept), noise.end(),
              content.begin() + static_cast<std::ptrdiff_t>(kept));
    if (content == images(3)) continue;
    folder.write("train-images-idx3-ubyte", content);
    INFO("seed " << seed);
    CHECK(lacking(message(folder), {"train-images-idx3-ubyte"}) == "");
  }
}
