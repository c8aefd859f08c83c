// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/open.hpp>

#include <filesystem>
#include <string>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

using lockstep::data::folder_kind;
using lockstep::data::recognize;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::temporary_folder;

}  // namespace

TEST_CASE("recognize: tells data sets by one of their names", "[data]") {
  const temporary_folder folder;
  const auto [name, kind] = GENERATE(table<std::string, folder_kind>({
      {"data_batch_1.bin", folder_kind::cifar10},
      {"data_batch_7.bin", folder_kind::cifar10},
      {"test_batch.bin", folder_kind::cifar10},
      {"data_batch_1", folder_kind::cifar10},
      {"train-images-idx3-ubyte", folder_kind::idx},
      {"train-labels.idx1-ubyte", folder_kind::idx},
      {"t10k-images-idx3-ubyte.gz", folder_kind::idx},
      {"t10k-labels-idx1-ubyte", folder_kind::idx},
      {"fine_label_names.txt", folder_kind::cifar100},
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
  CHECK(recognize(folder.path()) == folder_kind::cifar100);
}

TEST_CASE("recognize: folders are no files", "[data]") {
  const temporary_folder folder;
  for (const char* name : {"data_batch_1.bin", "test_batch.bin", "train-images-idx3-ubyte", "train.bin", "test.bin"})
    std::filesystem::create_directory(folder.path() / name);
  CHECK(lacking(io_error_of([&] { (void)recognize(folder.path()); }), {"no known data set"}) == "");
  folder.write("t10k-images-idx3-ubyte", "x");
  CHECK(recognize(folder.path()) == folder_kind::idx);
}

TEST_CASE("recognize: says what it looked for", "[data]") {
  const temporary_folder folder;
  const auto message = [&](const std::string& name) {
    return io_error_of([&] { (void)recognize(folder.path() / name); });
  };
  CHECK(lacking(message(""), {"empty", "data_batch_1.bin", "train-images-idx3-ubyte"}) == "");
  CHECK(lacking(message("absent"), {"absent", "found nothing"}) == "");
  folder.write("note.txt", "text");
  CHECK(lacking(message("note.txt"), {"note.txt", "expected a folder, found a file"}) == "");
  CHECK(lacking(message(""), {"no known data set", "data_batch_1.bin"}) == "");
  folder.write("test_batch.bin", "x");
  folder.write("t10k-labels-idx1-ubyte", "x");
  CHECK(lacking(message(""), {"more than one"}) == "");
}
