// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <rapidjson/document.h>
#include <sys/wait.h>

#include "support/catch.hpp"

/// Leaves the test case unless the build told where the programs are.
#if defined(LOCKSTEP_TRAIN_PROGRAM)
#define LOCKSTEP_NEED_PROGRAM() static_cast<void>(0)
#else
#define LOCKSTEP_TRAIN_PROGRAM ""
#define LOCKSTEP_TRAIN_HAS_CUDA 0
#define LOCKSTEP_EMBED_PROGRAM ""
#define LOCKSTEP_GENERATE_PROGRAM ""
#define LOCKSTEP_NEED_PROGRAM() LOCKSTEP_SKIP("lockstep-train, lockstep-embed and lockstep-generate were not built")
#endif

namespace lockstep_test {

/// What one run of a program left behind.
struct outcome {
  int code = -1;
  std::string out;
  std::string err;

  [[nodiscard]] std::int64_t error_lines() const { return std::count(err.begin(), err.end(), '\n'); }
};

/// A folder to run the program in, removed with all it holds.
class workplace {
 public:
  workplace() {
    std::random_device device;
    do folder_ = std::filesystem::temp_directory_path() / ("lockstep train " + std::to_string(device()));
    while (!std::filesystem::create_directory(folder_));
  }
  workplace(const workplace&) = delete;
  workplace& operator=(const workplace&) = delete;
  ~workplace() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  /// Runs lockstep-train with arguments that the shell splits at blanks; file names are those of this folder.
  [[nodiscard]] outcome run(const std::string& arguments) const { return run(LOCKSTEP_TRAIN_PROGRAM, arguments); }
  /// The same of another program.
  [[nodiscard]] outcome run(const std::string& program, const std::string& arguments) const {
    const std::string command =
        "cd '" + folder_.string() + "' && '" + program + "' " + arguments + " >out.txt 2>err.txt </dev/null";
    const int status = std::system(command.c_str());
    if (!WIFEXITED(status)) throw std::runtime_error("did not end by itself: " + command);
    return {WEXITSTATUS(status), read("out.txt"), read("err.txt")};
  }

  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + (folder_ / name).string());
    return {std::istreambuf_iterator<char>(file), {}};
  }

  void write(const std::string& name, const std::string& content) const {
    std::ofstream file(folder_ / name, std::ios::binary | std::ios::trunc);
    file << content;
    file.close();
    if (!file) throw std::runtime_error("cannot write " + (folder_ / name).string());
  }

  void make_folder(const std::string& name) const { std::filesystem::create_directory(folder_ / name); }
  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] bool has(const std::string& name) const { return std::filesystem::exists(folder_ / name); }

 private:
  std::filesystem::path folder_;
};

/// The lines of a log: every one an object of numbers and nulls.
struct log_lines {
  std::vector<double> losses;       ///< a line a step; NaN for null
  std::vector<double> test_losses;  ///< a line an epoch; of a text, those of validation
  std::vector<double> accuracies;

  explicit log_lines(const std::string& text) {
    REQUIRE(!text.empty());
    REQUIRE(text.back() == '\n');
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = text.find('\n', begin);
      const std::string line = text.substr(begin, end - begin);
      begin = end + 1;
      INFO(line);
      rapidjson::Document json;
      json.Parse(line.c_str());
      REQUIRE(!json.HasParseError());
      REQUIRE(json.IsObject());
      if (json.HasMember("step")) {
        REQUIRE(json["step"].IsInt64());
        REQUIRE(json["step"].GetInt64() == static_cast<std::int64_t>(losses.size()) + 1);
        REQUIRE(json["samples_per_s"].GetDouble() > 0);
        losses.push_back(number(json, "loss"));
      } else {
        REQUIRE(json["epoch"].GetInt64() == static_cast<std::int64_t>(accuracies.size()) + 1);
        REQUIRE(json["samples_per_s"].GetDouble() > 0);
        const bool of_text = json.HasMember("validation_loss");
        accuracies.push_back(number(json, of_text ? "validation_accuracy" : "test_accuracy"));
        test_losses.push_back(number(json, of_text ? "validation_loss" : "test_loss"));
      }
    }
  }

 private:
  static double number(const rapidjson::Document& json, const char* name) {
    REQUIRE(json.HasMember(name));
    if (json[name].IsNull()) return std::nan("");
    REQUIRE(json[name].IsNumber());
    return json[name].GetDouble();
  }
};

}  // namespace lockstep_test
