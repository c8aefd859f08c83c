// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it replaces a function of the C library.
#include <lockstep/io/file.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <lockstep/observe/step_log.hpp>

#include "io/io_support.hpp"
#include "support/file_reader.hpp"

namespace ls = lockstep;
using lockstep_test::file_reader;
using lockstep_test::file_size_limit;
using lockstep_test::message_of;
using lockstep_test::put;
using lockstep_test::slurp;
using lockstep_test::temporary_folder;

namespace {

/// What the next calls of rename do instead: errno's value to fail with, or 0 for the system's own course.
std::function<int()>& instead_of_rename() {
  static std::function<int()> action;
  return action;
}

}  // namespace

// Takes the place of the C library's in this program.
extern "C" int rename(const char* from, const char* to) noexcept {
  if (instead_of_rename())
    if (const int code = instead_of_rename()(); code != 0) {
      errno = code;
      return -1;
    }
  return ::renameat(AT_FDCWD, from, AT_FDCWD, to);
}

namespace {

/// rename takes another course while this lives.
class other_rename {
 public:
  explicit other_rename(std::function<int()> action) { instead_of_rename() = std::move(action); }
  other_rename(const other_rename&) = delete;
  other_rename& operator=(const other_rename&) = delete;
  ~other_rename() { instead_of_rename() = nullptr; }
};

void write_text(const std::string& path, std::string_view text) {
  ls::write_file(path, std::as_bytes(std::span(text)));
}

std::string refusal(const std::string& path) {
  return message_of<ls::io_error>([&] { write_text(path, "x"); });
}

struct ::stat status_of(const std::string& path) {
  struct ::stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status;
}

mode_t mode_of(const std::string& path) { return status_of(path).st_mode & 07777U; }

}  // namespace

TEST_CASE("a pipe is written into", "[io]") {
  const temporary_folder folder;
  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const std::string text(300'000, 'x');  // more than a pipe holds
  {
    file_reader other(pipe);
    write_text(pipe, text);
    CHECK(other.text() == text);
  }
  {
    file_reader other(pipe);
    { ls::step_log(pipe).step(1, 0.5, 10); }
    CHECK(other.text() == "{\"step\":1,\"loss\":0.5,\"samples_per_s\":10}\n");
  }
  std::filesystem::create_symlink("pipe", folder / "link");
  {
    file_reader other(pipe);
    write_text(folder / "link", "by a link");
    CHECK(other.text() == "by a link");
  }
  CHECK(S_ISFIFO(status_of(pipe).st_mode));
  CHECK(S_ISLNK(status_of(folder / "link").st_mode));
  CHECK(folder.file_count() == 2);
}

TEST_CASE("a device is written into", "[io]") {
  const temporary_folder folder;
  // By links, so that a writer that replaced its target would do no harm.
  std::filesystem::create_symlink("/dev/null", folder / "null");
  write_text(folder / "null", "gone");
  { ls::step_log(folder / "null").step(1, 1, 1); }
  CHECK(S_ISCHR(status_of("/dev/null").st_mode));
  CHECK(std::filesystem::read_symlink(folder / "null") == "/dev/null");

  if (std::filesystem::exists("/dev/full")) {
    const std::string expected = "cannot write: No space left on device; free some space or choose another disk";
    CHECK(refusal("/dev/full") == "lockstep: /dev/full: " + expected);
    CHECK(message_of<ls::io_error>([] { ls::step_log("/dev/full").step(1, 1, 1); }) ==
          "lockstep: /dev/full: " + expected);
  }
  CHECK(folder.file_count() == 1);
}

TEST_CASE("an open descriptor is written into at its position", "[io]") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  const ls::detail::file_descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::write(file.get(), "head ", 5) == 5);
  const ino_t before = status_of(path).st_ino;
  write_text("/dev/fd/" + std::to_string(file.get()), "one ");
  write_text("/proc/self/fd/" + std::to_string(file.get()), "two ");
  { ls::step_log("/dev/fd/" + std::to_string(file.get())).write({{"step", std::int64_t{3}}}); }
  REQUIRE(::write(file.get(), "tail", 4) == 4);
  CHECK(slurp(path) == "head one two {\"step\":3}\ntail");
  CHECK(status_of(path).st_ino == before);

  // The way a shell hands standard output on.
  std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(file.get()), folder / "stdout");
  write_text(folder / "stdout", "!");
  CHECK(slurp(path) == "head one two {\"step\":3}\ntail!");

  const ls::detail::file_descriptor closed(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const std::string name = "/dev/fd/" + std::to_string(closed.get());
  CHECK(refusal(name) == "lockstep: " + name +
                             ": cannot write to what is open for reading: Bad file descriptor; name what is open for "
                             "writing");
  CHECK(slurp(path) == "head one two {\"step\":3}\ntail!");
}

TEST_CASE("a pipe that does not block is waited for", "[io]") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const ls::detail::file_descriptor out(ends[0]);
  ls::detail::file_descriptor in(ends[1]);
  REQUIRE(::fcntl(out.get(), F_SETFL, 0) == 0);
  const std::string text(300'000, 'y');
  file_reader other("/dev/fd/" + std::to_string(out.get()));
  write_text("/dev/fd/" + std::to_string(in.get()), text);
  CHECK(in.close() == 0);
  CHECK(other.text() == text);
}

TEST_CASE("a symbolic link stays, and what it leads to is replaced", "[io]") {
  const temporary_folder folder;
  std::filesystem::create_directory(folder / "there");
  put(folder / "there/file", "before");
  std::filesystem::create_symlink("there/file", folder / "relative");
  std::filesystem::create_symlink(folder / "there/file", folder / "absolute");
  std::filesystem::create_symlink("../relative", folder / "there/twice");
  for (const char* name : {"relative", "absolute", "there/twice"}) {
    INFO(name);
    const ino_t before = status_of(folder / "there/file").st_ino;
    write_text(folder / name, name);
    CHECK(S_ISLNK(status_of(folder / name).st_mode));
    CHECK(slurp(folder / "there/file") == name);
    CHECK(status_of(folder / "there/file").st_ino != before);  // replaced whole, not written over
  }
  { ls::step_log(folder / "there/twice").write({{"step", std::int64_t{1}}}); }
  CHECK(slurp(folder / "there/file") == "{\"step\":1}\n");
  CHECK(S_ISLNK(status_of(folder / "relative").st_mode));

  std::filesystem::create_symlink("there/new", folder / "dangling");
  write_text(folder / "dangling", "made");
  CHECK(slurp(folder / "there/new") == "made");
  CHECK(S_ISLNK(status_of(folder / "dangling").st_mode));

  std::filesystem::create_symlink("circle", folder / "circle");
  CHECK(
      refusal(folder / "circle") ==
      "lockstep: " + (folder / "circle") +
          ": cannot follow its symbolic links: Too many levels of symbolic links; its symbolic links lead in a circle");
  CHECK(std::distance(std::filesystem::directory_iterator(folder / "there"), {}) == 3);
}

TEST_CASE("the new file has the mode of the one that it replaces", "[io]") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  const mode_t mask = ::umask(027);
  write_text(path, "new");
  ::umask(mask);
  CHECK(mode_of(path) == 0640);
  for (const mode_t mode : {0600U, 0664U, 0444U, 0755U}) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    write_text(path, std::to_string(mode));
    CHECK(mode_of(path) == mode);
    CHECK(slurp(path) == std::to_string(mode));
  }
}

TEST_CASE("the new file belongs to whom the old one belonged to", "[io]") {
  if (::geteuid() != 0) LOCKSTEP_SKIP("only the superuser may give files away");
  const temporary_folder folder;
  const std::string path = folder / "file";
  put(path, "before");
  if (::chown(path.c_str(), 12'345, 23'456) != 0) LOCKSTEP_SKIP("this file system gives no files away");
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  write_text(path, "after");
  CHECK(status_of(path).st_uid == 12'345);
  CHECK(status_of(path).st_gid == 23'456);
  CHECK(mode_of(path) == 0640);
  CHECK(slurp(path) == "after");
}

TEST_CASE("a file that cannot be replaced is written into", "[io]") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  put(path, "before, and longer");
  const ino_t before = status_of(path).st_ino;
  for (const int code : {EBUSY, EXDEV}) {
    const other_rename refuses([code] { return code; });
    write_text(path, std::to_string(code));
    CHECK(slurp(path) == std::to_string(code));
    CHECK(status_of(path).st_ino == before);
    CHECK(folder.file_count() == 1);
  }
  const other_rename refuses([] { return EACCES; });
  CHECK(refusal(path) == "lockstep: " + path +
                             ": cannot rename the temporary file to it: Permission denied; choose a place that you may "
                             "write to");
  CHECK(slurp(path) == std::to_string(EXDEV));
  CHECK(folder.file_count() == 1);
}

TEST_CASE("what could not be copied into a file is kept whole beside it", "[io]") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  put(path, "before");
  const std::string text(10'000, 'z');
  std::string message;
  {
    std::optional<file_size_limit> limit;
    const other_rename refuses([&limit] {
      limit.emplace(4096);
      return EBUSY;
    });
    message = message_of<ls::io_error>([&] { write_text(path, text); });
  }
  const std::string told = "lockstep: " + path +
                           ": cannot write: File too large; raise the limit of file sizes (ulimit -f); the whole file "
                           "is kept as ";
  REQUIRE(message.substr(0, told.size()) == told);
  CHECK(slurp(message.substr(told.size())) == text);
}

TEST_CASE("a file that is mounted is written into", "[io]") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  const std::string other = folder / "other";
  put(path, "before");
  put(other, "mounted");
  const ino_t inode = status_of(other).st_ino;
  enum : int { fine, not_allowed, wrong };
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool own = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!own || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(other.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0)
      ::_exit(not_allowed);
    try {
      write_text(path, "after");
      { ls::step_log(path).write({{"step", std::int64_t{1}}}); }
      write_text(path, "the end");
    } catch (...) {
      ::_exit(wrong);
    }
    ::_exit(fine);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == not_allowed) LOCKSTEP_SKIP("this process may not mount");
  CHECK(WEXITSTATUS(status) == fine);
  CHECK(slurp(path) == "before");
  CHECK(slurp(other) == "the end");
  CHECK(status_of(other).st_ino == inode);
  CHECK(folder.file_count() == 2);
}

TEST_CASE("a name as long as the system allows is written", "[io]") {
  const temporary_folder folder;
  const std::string path = folder / std::string(255, 'n');
  write_text(path, "text");
  CHECK(slurp(path) == "text");
  const std::string longer = folder / std::string(256, 'n');
  const std::string message = refusal(longer);
  CHECK(message.find("File name too long; choose a shorter name") != std::string::npos);
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a check of an output says what the writer would", "[io]") {
  const temporary_folder folder;
  put(folder / "plain", "text");
  std::filesystem::create_symlink("nowhere/file", folder / "astray");
  std::filesystem::create_symlink("circle", folder / "circle");
  const auto told = [](const std::string& path) { return message_of<ls::io_error>([&] { ls::check_output(path); }); };
  for (const std::string& path : {folder / "plain", folder / "new", std::string("/dev/null"), std::string("new")})
    CHECK(told(path) == "nothing was thrown");
  for (const std::string& path : {folder / "none/file", folder / "plain/file", folder / "astray", folder / "circle",
                                  folder.path().string(), std::string()}) {
    INFO(path);
    const std::string message = told(path);
    CHECK(message.substr(0, 10 + path.size()) == "lockstep: " + path);
    CHECK(message_of<ls::io_error>([&] { write_text(path, "x"); }) != "nothing was thrown");
  }
  CHECK(told(folder / "none/file") ==
        "lockstep: " + (folder / "none/file") +
            ": cannot write to its folder: No such file or directory; make its folder first");
  CHECK(slurp(folder / "plain") == "text");
  CHECK(folder.file_count() == 3);
  CHECK_FALSE(std::filesystem::exists("new"));
}
