// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/io/file.hpp>

#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include "io/io_support.hpp"

namespace ls = lockstep;
using lockstep_test::file_size_limit;
using lockstep_test::message_of;
using lockstep_test::put;
using lockstep_test::slurp;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

void write_all(const std::string& path, const std::string& text) {
  ls::atomic_file_writer file(path);
  file.write(bytes_of(text));
  file.commit();
}

}  // namespace

TEST_CASE("a whole file is read within its limit", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file";
  const std::string content("one\0two", 7);
  put(path, content);
  const auto bytes = ls::read_file(path, 7);
  REQUIRE(bytes.size() == 7);
  CHECK(std::memcmp(bytes.data(), content.data(), 7) == 0);

  const std::string message = message_of<ls::io_error>([&] { static_cast<void>(ls::read_file(path, 6)); });
  CHECK(message == "lockstep: " + path + ": expected at most 6 bytes, got 7");

  put(path, "");
  CHECK(ls::read_file(path, 0).empty());
}

TEST_CASE("what is no readable file is refused with the reason", "[io]") {
  const lockstep_test::temporary_folder folder;
  const auto message = [](const std::string& path) {
    return message_of<ls::io_error>([&] { static_cast<void>(ls::read_file(path, 100)); });
  };
  CHECK(message(folder / "absent") ==
        "lockstep: " + (folder / "absent") + ": cannot open for reading: No such file or directory");
  CHECK(message(folder.path()) == "lockstep: " + folder.path().string() + ": expected a file, got a directory");
  CHECK(message("") == "lockstep: : cannot open for reading: No such file or directory");

  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(message(pipe) == "lockstep: " + pipe + ": expected a regular file, got a device, pipe or socket");
}

TEST_CASE("a file that shrinks while it is read is refused", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file";
  put(path, "12345678");
  ls::file_reader file(path);
  CHECK(file.size() == 8);
  put(path, "123");
  std::vector<std::byte> bytes(8);
  CHECK(message_of<ls::io_error>([&] { file.read(bytes); }) ==
        "lockstep: " + path + ": expected 5 more bytes, got the end of the file");
}

TEST_CASE("an atomic write replaces the target and leaves nothing else", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file";
  write_all(path, "first, and longer");
  CHECK(slurp(path) == "first, and longer");
  write_all(path, "second");
  CHECK(slurp(path) == "second");
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a relative path without a folder is written in the current folder", "[io]") {
  const lockstep_test::temporary_folder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_all("file", "here");
  std::filesystem::current_path(before);
  CHECK(slurp(folder / "file") == "here");
}

TEST_CASE("without a commit the target stays as it was", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file";
  put(path, "before");
  {
    ls::atomic_file_writer file(path);
    file.write(bytes_of("after"));
    CHECK(folder.file_count() == 2);
  }
  CHECK(slurp(path) == "before");
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a write that fails half way leaves the target and no temporary file", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file";
  put(path, "before");
  std::string message;
  {
    const file_size_limit limit(4096);
    message = message_of<ls::io_error>([&] { write_all(path, std::string(10'000, 'x')); });
  }
  CHECK(message == "lockstep: " + path + ": cannot write: File too large; raise the limit of file sizes (ulimit -f)");
  CHECK(slurp(path) == "before");
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a file of which a write has failed is not committed, though later writes succeed", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file";
  put(path, "before");
  {
    ls::atomic_file_writer file(path);
    {
      const file_size_limit limit(4096);
      CHECK_THROWS_AS(file.write(bytes_of(std::string(10'000, 'x'))), ls::io_error);
    }
    file.write(bytes_of("after"));
    CHECK_THROWS_WITH(file.commit(), Catch::Contains(path) && Catch::Contains("a write that failed"));
  }
  CHECK(slurp(path) == "before");
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a target that cannot be replaced is named and the temporary file removed", "[io]") {
  const lockstep_test::temporary_folder folder;
  std::filesystem::create_directory(folder.path() / "taken");
  CHECK(message_of<ls::io_error>([&] { write_all(folder / "taken", "x"); }) ==
        "lockstep: " + (folder / "taken") + ": expected a file, got a directory");
  CHECK(folder.file_count() == 1);
  CHECK(message_of<ls::io_error>([&] { write_all("", "x"); }) ==
        "lockstep: : expected the name of a file, got nothing");

  const std::string absent = folder / "absent/file";
  CHECK(message_of<ls::io_error>([&] { write_all(absent, "x"); }) ==
        "lockstep: " + absent +
            ": cannot create a temporary file beside it: No such file or directory; make its folder first");

  put(folder / "plain", "text");
  const std::string below = folder / "plain/file";
  CHECK(message_of<ls::io_error>([&] { write_all(below, "x"); }) ==
        "lockstep: " + below +
            ": cannot create a temporary file beside it: Not a directory; what should be its folder is a file: choose "
            "another path");
}

TEST_CASE("a folder without write permission is refused", "[io]") {
  if (::geteuid() == 0) LOCKSTEP_SKIP("the superuser may write everywhere");
  const lockstep_test::temporary_folder folder;
  const auto closed = folder.path() / "closed";
  std::filesystem::create_directory(closed);
  put((closed / "file").string(), "before");
  std::filesystem::permissions(closed, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  const std::string message = message_of<ls::io_error>([&] { write_all((closed / "file").string(), "x"); });
  std::filesystem::permissions(closed, std::filesystem::perms::owner_all);
  CHECK(message.find("cannot create a temporary file beside it: Permission denied") != std::string::npos);
  CHECK(slurp((closed / "file").string()) == "before");
}

TEST_CASE("writers of one target do not disturb each other", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file";
  std::vector<std::string> texts;
  for (char letter = 'a'; letter < 'e'; ++letter) texts.emplace_back(5000, letter);
  std::vector<std::thread> threads;
  for (const auto& text : texts)
    threads.emplace_back([&path, &text] {
      for (int i = 0; i < 20; ++i) write_all(path, text);
    });
  for (auto& thread : threads) thread.join();
  const std::string content = slurp(path);
  CHECK(std::find(texts.begin(), texts.end(), content) != texts.end());
  CHECK(folder.file_count() == 1);
}
