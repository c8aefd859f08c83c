// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <system_error>

#include <fmt/core.h>
#include <unistd.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <lockstep/core/random.hpp>
#include <lockstep/generate/sampling.hpp>

#include "../small_program.hpp"
#include "writers.hpp"

namespace {

using namespace lockstep_generate;

constexpr const char* program = "lockstep-generate";

struct options {
  std::string model;
  std::string weights;
  std::string prompt = "\n";
  std::int64_t tokens = 256;
  double temperature = 0.8;
  std::int64_t top_k = 0;
  double top_p = 1;
  std::uint64_t seed = 0;
};

/// Refuses what is no whole number in the domain; CLI's own conversion wraps those that are too large around.
template <class T>
std::string refuse_number(const std::string& text, T least) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= least) return {};
  return fmt::format("expected a whole number from {} to {}, got {}", least, std::numeric_limits<T>::max(), text);
}

/// The same for real numbers, up to `most`.
std::string refuse_real(const std::string& text, bool zero, double most) {
  double value = 0;
  if (CLI::detail::lexical_cast(text, value) && std::isfinite(value) && (zero ? value >= 0 : value > 0) &&
      value <= most)
    return {};
  if (std::isfinite(most)) return fmt::format("expected a number above 0 and at most {}, got {}", most, text);
  return fmt::format("expected a finite number of zero or more, got {}", text);
}

/// Returns nothing after --help. Throws CLI::ParseError.
std::optional<options> parse(int argc, char** argv) {
  options o;
  CLI::App app("Writes text with a model that lockstep-train, or PyTorch, has trained", program);
  app.add_option("--model", o.model, "gpt or lstm, as lockstep-train has them")
      ->required()
      ->check(CLI::IsMember(std::set<std::string>{"gpt", "lstm"}));
  app.add_option("--weights", o.weights, "The safetensors file of its parameters")->required();
  app.add_option("--prompt", o.prompt, "What the text follows [a new line]");
  app.add_option("--tokens", o.tokens, "Bytes to write")
      ->check([](const std::string& text) { return refuse_number<std::int64_t>(text, 0); })
      ->capture_default_str();
  app.add_option("--temperature", o.temperature,
                 "How freely bytes are chosen: from 0, the likeliest each time, over 1, as likely as the model says")
      ->check([](const std::string& text) { return refuse_real(text, true, std::numeric_limits<double>::infinity()); })
      ->capture_default_str();
  app.add_option("--top-k", o.top_k, "Choose among so many of the likeliest bytes; 0: among all")
      ->check([](const std::string& text) { return refuse_number<std::int64_t>(text, 0); })
      ->capture_default_str();
  app.add_option("--top-p", o.top_p, "Choose among the likeliest bytes whose probabilities add up to this")
      ->check([](const std::string& text) { return refuse_real(text, false, 1); })
      ->capture_default_str();
  app.add_option("--seed", o.seed, "Keys what is drawn")
      ->check([](const std::string& text) { return refuse_number<std::uint64_t>(text, 0); })
      ->capture_default_str();
  app.footer(
      "Prints the bytes that follow the prompt and nothing else; on a terminal, a new line after them.\n"
      "Exit codes: 0 done; 1 failed; 2 bad input.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return std::nullopt;
  }
  if (o.prompt.empty()) throw CLI::ValidationError("--prompt", "expected a text of one byte or more, got nothing");
  return o;
}

int generate(const options& o) {
  const text_model model = o.model == "gpt" ? gpt() : lstm();
  if (static_cast<std::int64_t>(o.prompt.size()) > model.longest_prompt)
    return small_program::complain(
        program,
        fmt::format("--prompt: expected at most {} bytes, which --model {} remembers, got {}", model.longest_prompt,
                    o.model, o.prompt.size()),
        small_program::bad_input);
  const std::string text =
      model.write(o.weights, o.prompt, o.tokens,
                  {.temperature = o.temperature, .top_k = o.top_k, .top_p = o.top_p, .seed = lockstep::seed{o.seed}});
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (::isatty(STDOUT_FILENO) != 0) std::fputc('\n', stdout);
  return small_program::done;
}

}  // namespace

int main(int argc, char** argv) {
  return small_program::run(program, [&] {
    const auto o = parse(argc, argv);
    return o ? generate(*o) : small_program::done;
  });
}
