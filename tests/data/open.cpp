// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/open.hpp>

#include <filesystem>
#include <string>
#include <utility>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

using lockstep::data::data_kind;
using lockstep::data::recognize;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::temporary_folder;

}  // namespace

TEST_CASE("recognize: tells data sets by one of their names", "[data]") {
  const temporary_folder folder;
  const auto [name, kind] = GENERATE(table<std::string, data_kind>({
      {"data_batch_1.bin", data_kind::cifar10},
      {"data_batch_7.bin", data_kind::cifar10},
      {"test_batch.bin", data_kind::cifar10},
      {"data_batch_1", data_kind::cifar10},
      {"train-images-idx3-ubyte", data_kind::idx},
      {"train-labels.idx1-ubyte", data_kind::idx},
      {"t10k-images-idx3-ubyte.gz", data_kind::idx},
      {"t10k-labels-idx1-ubyte", data_kind::idx},
      {"fine_label_names.txt", data_kind::cifar100},
  }));
  folder.write("readme.txt", "something else beside it");
  folder.write(name, "content is the reader's business");
  INFO(name);
  CHECK(recognize(folder.path()) == kind);
}

TEST_CASE("recognize: CIFAR-100 has two files of plain names", "[data]") {
  const temporary_folder folder;
  folder.write("train.bin", "x");
  CHECK(lacking(io_error_of([&] { (void)recognize(folder.path()); }), {"no known data set", "test.bin"}) == "");
  folder.write("test.bin", "x");
  CHECK(recognize(folder.path()) == data_kind::cifar100);
}

TEST_CASE("recognize: folders are no files", "[data]") {
  const temporary_folder folder;
  for (const char* name : {"data_batch_1.bin", "test_batch.bin", "train-images-idx3-ubyte", "train.bin", "test.bin"})
    std::filesystem::create_directory(folder.path() / name);
  CHECK(lacking(io_error_of([&] { (void)recognize(folder.path()); }), {"no known data set"}) == "");
  folder.write("t10k-images-idx3-ubyte", "x");
  CHECK(recognize(folder.path()) == data_kind::idx);
}

TEST_CASE("recognize: says what it looked for", "[data]") {
  const temporary_folder folder;
  const auto message = [&](const std::string& name) {
    return io_error_of([&] { (void)recognize(folder.path() / name); });
  };
  CHECK(lacking(message(""), {"empty", "data_batch_1.bin", "train-images-idx3-ubyte"}) == "");
  CHECK(lacking(message("absent"), {"absent", "found nothing"}) == "");
  folder.write("note.txt", "text");
  CHECK(lacking(message(""), {"no known data set", "data_batch_1.bin"}) == "");
  folder.write("test_batch.bin", "x");
  folder.write("t10k-labels-idx1-ubyte", "x");
  CHECK(lacking(message(""), {"more than one"}) == "");
}

TEST_CASE("recognize: a file is a text, whatever its name and encoding", "[data]") {
  const temporary_folder folder;
  const std::string content =
      GENERATE(as<std::string>(), "To be, or not to be\r\n\tthat is\f\x1B[1m the question",
               "\xEF\xBB\xBFna\xC3\xAFve \xF0\x9F\x98\x80", "na\xEFve in Latin-1 \x85\xFF", "\n");
  folder.write("train.bin", content);
  CHECK(recognize(folder / "train.bin") == data_kind::text);
}

TEST_CASE("recognize: a file of something else is no text", "[data]") {
  const temporary_folder folder;
  const auto message = [&](const std::string& content) {
    folder.write("file", content);
    return io_error_of([&] { (void)recognize(folder / "file"); });
  };
  using namespace std::string_literals;
  CHECK(lacking(message("\x1F\x8B\x08"s), {"file", "expected a text file, or the folder", "byte 0 is 31"}) == "");
  CHECK(lacking(message("\x89PNG\r\n\x1A\n"s), {"byte 6 is 26"}) == "");
  CHECK(lacking(message("text\0text"s), {"byte 4 is 0"}) == "");
  CHECK(lacking(message("\x7F"
                        "ELF"s),
                {"byte 0 is 127"}) == "");
  CHECK(lacking(message(""), {"empty file"}) == "");
  std::string content(70000, 'a');
  content[65535] = '\1';
  CHECK(lacking(message(content), {"byte 65535 is 1"}) == "");
  std::swap(content[65535], content[65536]);  // nobody looks that far
  CHECK(message(content) == "(nothing was thrown)");
}
