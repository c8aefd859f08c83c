// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdio>
#include <string>
#include <thread>
#include <utility>

namespace lockstep_test {

/// A thread that reads a file or a pipe to its end, or only the first byte of it.
class file_reader {
 public:
  explicit file_reader(std::string path, bool to_the_end = true)
      : thread_([this, path = std::move(path), to_the_end] {
          std::FILE* file = std::fopen(path.c_str(), "rb");
          for (int c = std::fgetc(file); c != EOF; c = to_the_end ? std::fgetc(file) : EOF)
            text_ += static_cast<char>(c);
          std::fclose(file);
        }) {}
  file_reader(const file_reader&) = delete;
  file_reader& operator=(const file_reader&) = delete;
  ~file_reader() {
    if (thread_.joinable()) thread_.join();
  }

  /// All that was read, once the thread has ended.
  std::string text() {
    thread_.join();
    return text_;
  }

 private:
  std::string text_;
  std::thread thread_;  // last: it writes the above
};

}  // namespace lockstep_test
