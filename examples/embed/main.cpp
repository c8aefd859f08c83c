// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <lockstep/core/error.hpp>
#include <lockstep/io/output_target.hpp>
#include <lockstep/io/safetensors_file.hpp>

#include "../small_program.hpp"
#include "header.hpp"
#include "names.hpp"

namespace {

using namespace lockstep_embed;

struct options {
  std::string input;
  std::string output;
  header_names names{.source = {}, .name_space = "weights", .type = "model"};
};

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
  return small_program::run("lockstep-embed", [&] {
    if (auto o = parse(argc, argv)) embed(std::move(*o));
    return small_program::done;
  });
}
