// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <lockstep/core/error.hpp>
#include <lockstep/io/output_target.hpp>
#include <lockstep/io/safetensors_file.hpp>

#include "header.hpp"
#include "names.hpp"

namespace {

using namespace lockstep_embed;

// Exit codes.
constexpr int done = 0;
constexpr int failure = 1;
constexpr int bad_input = 2;

struct options {
  std::string input;
  std::string output;
  header_names names{.source = {}, .name_space = "weights", .type = "model"};
};

/// One line on stderr. The library's messages carry its own name in front, which gives way to the program's.
int complain(std::string_view message, int code) {
  constexpr std::string_view prefix = "lockstep: ";
  if (message.substr(0, prefix.size()) == prefix) message.remove_prefix(prefix.size());
  std::string line(message);
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print(stderr, "lockstep-embed: {}\n", line);
  return code;
}

/// Returns nothing after --help. Throws CLI::ParseError.
std::optional<options> parse(int argc, char** argv) {
  options o;
  CLI::App app("Writes the tensors of a safetensors file as a C++ header, for programs that ship as one file");
  app.add_option("input", o.input, "The safetensors file, of lockstep's or PyTorch's")->required();
  app.add_option("-o,--output", o.output, "The header to write; may be a device or pipe, as /dev/stdout")->required();
  app.add_option("--name", o.names.type, "Name of the type that holds the tensors")
      ->check(refuse_type_name)
      ->capture_default_str();
  app.add_option("--namespace", o.names.name_space, "Namespace of that type, as app::weights")
      ->check(refuse_namespace)
      ->capture_default_str();
  app.footer(
      "In the program: ls::inference<net> model(ls::embedded_state<net>(weights::model{}));\n"
      "Exit codes: 0 done; 1 failed; 2 bad input.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return std::nullopt;
  }
  return o;
}

void embed(options o) {
  lockstep::check_output(o.output);
  const auto file = lockstep::safetensors_file::read(o.input);
  std::error_code none;
  if (std::filesystem::equivalent(o.input, o.output, none))
    throw lockstep::io_error(o.output, "expected another file for the header than the one that is read");
  o.names.source = std::filesystem::path(o.input).filename().string();
  write_header(file, o.names, o.output);
}

}  // namespace

int main(int argc, char** argv) {
  // The reader of a pipe that goes away is then told of like a full disk, instead of ending the program without a word.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    if (auto o = parse(argc, argv)) embed(std::move(*o));
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return complain("the output cannot be written", failure);
    return done;
  } catch (const CLI::ParseError& error) {
    return complain(std::string(error.what()) + "; --help lists the flags", bad_input);
  } catch (const lockstep::error& error) {
    return complain(error.what(), bad_input);
  } catch (const std::bad_alloc&) {
    return complain("the memory is not enough", failure);
  } catch (const std::exception& error) {
    return complain(error.what(), failure);
  }
}
