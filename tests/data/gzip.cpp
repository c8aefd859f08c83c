// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#if LOCKSTEP_TEST_HAS_ZLIB
#include <lockstep/data/gzip.hpp>
#endif

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/data/idx.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

#if LOCKSTEP_TEST_HAS_ZLIB

namespace {

using lockstep::data::gzip;
using lockstep::data::idx;
using lockstep_test::bytes;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::temporary_folder;

// What Python's gzip makes of three images whose pixel i is 13 i + i / 784, and of the labels 9, 0 and 4.
const bytes packed_images{
    31,  139, 8,   0,   0,   0,   0,   0,   2,   3,   99,  96,  224, 96,  102, 96,  96,  0,   97,  25,  48,  230,
    149, 82,  55,  113, 244, 139, 206, 40,  109, 234, 159, 179, 114, 219, 225, 11,  119, 95,  125, 103, 17,  148,
    211, 182, 112, 13,  138, 207, 169, 108, 155, 188, 96,  237, 174, 227, 87,  30,  190, 251, 205, 33,  170, 164,
    111, 227, 25,  150, 92,  80,  219, 53,  125, 201, 198, 125, 167, 111, 60,  253, 244, 159, 71,  82,  205, 216,
    193, 55,  42,  189, 164, 177, 111, 246, 138, 173, 135, 206, 223, 121, 249, 141, 89,  64,  86,  203, 220, 37,
    48,  46,  187, 162, 117, 210, 252, 53,  59,  143, 93,  126, 240, 246, 23,  187, 136, 162, 158, 181, 71,  104,
    82,  126, 77,  231, 180, 197, 27,  246, 158, 186, 254, 228, 227, 63,  110, 9,   85,  35,  123, 159, 200, 180,
    226, 134, 222, 89,  203, 183, 28,  60,  119, 251, 197, 87,  38,  126, 25,  77,  51,  231, 128, 216, 172, 242,
    150, 137, 243, 86,  239, 56,  122, 233, 254, 155, 159, 108, 194, 10,  186, 86,  238, 33,  137, 121, 213, 29,
    83,  23,  173, 223, 115, 242, 218, 227, 15,  127, 185, 196, 85,  12,  237, 188, 35,  82,  139, 234, 123, 102,
    46,  219, 124, 224, 236, 173, 231, 95,  24,  249, 164, 53,  76,  157, 252, 99,  50,  203, 154, 39,  204, 93,
    181, 253, 200, 197, 123, 175, 127, 176, 10,  201, 235, 88,  186, 5,   39,  228, 86,  181, 79,  89,  184, 110,
    247, 137, 171, 143, 222, 255, 225, 20,  83,  54,  176, 245, 10,  79,  41,  172, 235, 158, 177, 116, 211, 254,
    51,  55,  159, 125, 30,  245, 255, 168, 255, 145, 253, 63,  26,  116, 163, 254, 31,  245, 63,  194, 255, 163,
    65,  55,  234, 255, 81,  255, 35,  252, 15,  0,   125, 108, 225, 61,  64,  9,   0,   0};
const bytes packed_labels{31, 139, 8,   0,   0,  0, 0, 0,  2,  3,   99, 96, 224, 96, 100, 96,
                          96, 96,  230, 100, 96, 1, 0, 18, 67, 252, 6,  11, 0,   0,  0};

std::uint32_t crc32_of(const bytes& content) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const std::uint8_t byte : content) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

void append_little_endian(bytes& out, std::uint32_t value, unsigned count) {
  for (unsigned byte = 0; byte < count; ++byte) out.push_back(static_cast<std::uint8_t>(value >> 8U * byte));
}

/// A gzip archive that only stores its content. Source: RFC 1951, 3.2.4, and RFC 1952.
bytes stored(const bytes& content) {
  bytes out{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
  std::size_t at = 0;
  do {
    const std::size_t count = std::min<std::size_t>(content.size() - at, 0xFFFF);
    out.push_back(at + count == content.size() ? 1 : 0);
    append_little_endian(out, static_cast<std::uint32_t>(count), 2);
    append_little_endian(out, static_cast<std::uint32_t>(~count), 2);
    out.insert(out.end(), content.begin() + static_cast<std::ptrdiff_t>(at),
               content.begin() + static_cast<std::ptrdiff_t>(at + count));
    at += count;
  } while (at < content.size());
  append_little_endian(out, crc32_of(content), 4);
  append_little_endian(out, static_cast<std::uint32_t>(content.size()), 4);
  return out;
}

bytes images(std::uint32_t count, std::uint8_t side) {
  bytes result{0, 0, 8, 3};
  for (const std::uint32_t extent : {count, std::uint32_t{side}, std::uint32_t{side}})
    for (const unsigned shift : {24U, 16U, 8U, 0U}) result.push_back(static_cast<std::uint8_t>(extent >> shift));
  for (std::uint32_t i = 0; i < count * side * side; ++i) result.push_back(static_cast<std::uint8_t>(i * 13 + i / 784));
  return result;
}

void write_packed(const temporary_folder& folder) {
  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte.gz", packed_images);
    folder.write(std::string(part) + "-labels-idx1-ubyte.gz", packed_labels);
  }
}

std::string message(const temporary_folder& folder) {
  return io_error_of([&] { (void)idx(folder.path(), gzip{}); });
}

}  // namespace

TEST_CASE("gzip: idx reads packed files", "[data]") {
  const temporary_folder folder;
  write_packed(folder);
  const auto [train, test] = idx(folder.path(), gzip{});
  CHECK(train.size() == 3);
  CHECK(test.label(0) == 9);
  CHECK(train.label(2) == 4);
  const bytes raw = images(3, 28);
  CHECK(bytes(train.pixels().begin(), train.pixels().end()) == bytes(raw.begin() + 16, raw.end()));
  // Without the unpacker, one sentence says what to do.
  CHECK(lacking(io_error_of([&] { (void)idx(folder.path()); }),
                {"got a gzip archive", "gunzip", "lockstep/data/gzip.hpp", "zlib"}) == "");
}

TEST_CASE("gzip: what is not packed comes first, and one of each may be mixed", "[data]") {
  const temporary_folder folder;
  write_packed(folder);
  folder.write("train-images-idx3-ubyte.gz", "damaged, and not looked at");
  folder.write("train-images.idx3-ubyte", images(3, 28));
  folder.write("t10k-images-idx3-ubyte", stored(images(3, 28)));  // packed under its unpacked name
  CHECK(idx(folder.path(), gzip{}).train.size() == 3);
}

TEST_CASE("gzip: several archives in one file, and more than a buffer", "[data]") {
  const temporary_folder folder;
  write_packed(folder);
  const bytes all = images(3000, 28);
  bytes first = stored(bytes(all.begin(), all.begin() + 1'000'000));
  const bytes second = stored(bytes(all.begin() + 1'000'000, all.end()));
  first.insert(first.end(), second.begin(), second.end());
  folder.write("train-images-idx3-ubyte.gz", first);
  bytes labels{0, 0, 8, 1, 0, 0, 0x0B, 0xB8};
  labels.resize(8 + 3000, 5);
  folder.write("train-labels-idx1-ubyte.gz", stored(labels));
  const auto train = idx(folder.path(), gzip{}).train;
  CHECK(train.size() == 3000);
  CHECK(bytes(train.pixels().begin(), train.pixels().end()) == bytes(all.begin() + 16, all.end()));
}

TEST_CASE("gzip: refuses archives that are damaged, cut, or hold something else", "[data]") {
  const temporary_folder folder;
  write_packed(folder);
  const std::string victim = GENERATE(as<std::string>(), "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz");
  bytes content = packed_images;
  const auto refuses = [&](std::vector<std::string> reasons) {
    reasons.push_back(victim);
    folder.write(victim, content);
    CHECK(lacking(message(folder), reasons) == "");
  };
  SECTION("cut in its middle") {
    content.resize(content.size() / 2);
    refuses({"truncated"});
  }
  SECTION("cut before its checksum") {
    content.resize(content.size() - 8);
    refuses({"truncated"});
  }
  SECTION("a wrong checksum") {
    content[content.size() - 6] ^= 1U;
    refuses({"damaged"});
  }
  SECTION("a damaged block") {
    content = stored(images(3, 28));
    content[12] ^= 1U;
    refuses({"damaged"});
  }
  SECTION("a byte too few inside") {
    content = images(3, 28);
    content.pop_back();
    content = stored(content);
    refuses({"expected 2368 bytes, as its header says, got 2367", "truncated"});
  }
  SECTION("a byte too many inside") {
    content = images(3, 28);
    content.push_back(0);
    content = stored(content);
    refuses({"followed by something else"});
  }
  SECTION("a count that memory could not hold") {
    content = images(3, 28);
    for (std::size_t i = 4; i < 8; ++i) content[i] = 0xff;
    content = stored(content);
    refuses({"expected 3367254359296 bytes"});
  }
  SECTION("other extents") {
    content = stored(images(3, 27));
    refuses({"got 27x27"});
  }
  SECTION("nothing") {
    content = stored({});
    refuses({"header of 16 bytes"});
  }
}

TEST_CASE("gzip: an archive cut at any length is refused", "[data]") {
  const temporary_folder folder;
  write_packed(folder);
  for (std::size_t length = 0; length < packed_labels.size(); ++length) {
    INFO(length);
    folder.write("train-labels-idx1-ubyte.gz",
                 bytes(packed_labels.begin(), packed_labels.begin() + static_cast<std::ptrdiff_t>(length)));
    CHECK(lacking(message(folder), {"train-labels-idx1-ubyte.gz"}) == "");
  }
}

#else

TEST_CASE("gzip: idx reads packed files", "[data]") { LOCKSTEP_SKIP("zlib was not found"); }

#endif
