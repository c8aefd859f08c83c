// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

/// \file
/// What the blocks of the pages need around them. The fragments share these types, so that the compiler meets few.

namespace lockstep_test {

/// Runs a block in a folder of its own, in which data/cifar10 and data/mnist hold small sets, data/gpt2 a small
/// tokenizer, and data/input.txt is a text.
inline void run_in_new_folder(int (*block)()) {
  const temporary_folder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::create_directories(folder.path() / "data" / "cifar10");
  std::filesystem::create_directories(folder.path() / "data" / "mnist");
  std::filesystem::create_directories(folder.path() / "data" / "gpt2");
  constexpr std::size_t record = 3073;
  bytes records = random_bytes(128 * record, 1);
  for (std::size_t i = 0; i < 128; ++i) records[i * record] = static_cast<std::uint8_t>(i % 10);
  folder.write("data/cifar10/data_batch_1.bin", records);
  folder.write("data/cifar10/test_batch.bin", records);
  for (const std::string part : {"train", "t10k"}) {
    bytes images{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28};
    images.resize(images.size() + 2 * 784, 7);
    folder.write("data/mnist/" + part + "-images-idx3-ubyte", images);
    folder.write("data/mnist/" + part + "-labels-idx1-ubyte", bytes{0, 0, 8, 1, 0, 0, 0, 2, 3, 4});
  }
  std::string text;
  for (int line = 0; line < 40; ++line) text += "Line " + std::to_string(line) + " of a text that isn't long.\n";
  folder.write("data/input.txt", text);
  const std::string tokenizer = std::string(LOCKSTEP_TEST_DATA_DIR) + "/golden/tokenizer_";
  for (const std::string name : {"vocab.json", "merges.txt"})
    std::filesystem::copy_file(tokenizer + name, folder.path() / "data" / "gpt2" / name);
  std::filesystem::current_path(folder.path());
  int result = -1;
  try {
    result = block();
  } catch (...) {
    std::filesystem::current_path(before);
    throw;
  }
  std::filesystem::current_path(before);
  CHECK(result == 0);
}

}  // namespace lockstep_test

namespace docs {

namespace ls = lockstep;

/// A small classifier of which a layer can be skipped.
using net = ls::sequential<ls::flatten, ls::linear<16>, ls::relu, ls::named<"block", ls::skippable<ls::linear<16>>>,
                           ls::linear<10>>;
using classifier = ls::model<net, ls::input<3, 32, 32>, ls::cross_entropy>;

inline ls::data::split<ls::shape<3, 32, 32>> pictures() {
  return ls::data::synthetic({.train_samples = 40, .test_samples = 20});
}

}  // namespace docs
