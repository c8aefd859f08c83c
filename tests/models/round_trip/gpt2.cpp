// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Loads the state of GPT-2, writes its logits for a batch of texts, and saves the state again. gpt2.py beside this file
// holds both against transformers.
//
//   round_trip_gpt2 MODEL STATE_IN TOKENS STATE_OUT LOGITS
//
// MODEL is small (2 blocks of 2 heads and 16 values, 12 places, 40 tokens) or 124m, the rest are safetensors files.
// TOKENS has one tensor `tokens`, F64 (B, 12) or (B, 32), LOGITS gets one tensor `logits` (B, T, vocabulary).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "models/gpt.hpp"

namespace ls = lockstep;

namespace {

struct paths {
  std::string state_in, tokens, state_out, logits;
};

/// Prints what took how long since the last call.
class stopwatch {
 public:
  void lap(const char* what) {
    const auto now = std::chrono::steady_clock::now();
    std::printf("  %s: %.2f s\n", what, std::chrono::duration<double>(now - last_).count());
    std::fflush(stdout);
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

template <class Network, std::int64_t Length>
void run(const paths& files) {
  using model = ls::model<Network, ls::tokens<Length>, ls::cross_entropy>;
  using predictor = ls::predictor<model, 1>;

  const auto file = ls::safetensors_file::read(files.tokens);
  const auto& shape = file.at("tokens").shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] != Length)
    throw std::runtime_error(files.tokens + ": expected one or more texts of " + std::to_string(Length) + " tokens");
  const std::vector<double> read = file.values_f64("tokens");
  const std::vector<std::int64_t> tokens(read.begin(), read.end());

  stopwatch watch;
  predictor network({.max_batch = shape[0], .warm_up = false});
  watch.lap("made the predictor");
  ls::load_safetensors(network, files.state_in);
  watch.lap("loaded the state");
  auto logits = network.predict(tokens);
  watch.lap("predicted");
  logits = network.predict(tokens);
  watch.lap("predicted again");
  const std::span<const float> values(logits.data(), static_cast<std::size_t>(logits.size()));
  const auto tensor = ls::safetensors_tensor::of("logits", {shape[0], Length, model::output_dims.extent[1]}, values);
  ls::write_safetensors(files.logits, {&tensor, 1});
  watch.lap("wrote the logits");
  ls::save_safetensors(network, files.state_out);
  watch.lap("saved the state");
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv, argv + argc);
  const std::string name = argc > 1 ? arguments[1] : "";
  if (argc != 6 || (name != "small" && name != "124m")) {
    std::fputs("usage: round_trip_gpt2 small|124m STATE_IN TOKENS STATE_OUT LOGITS\n", stderr);
    return 2;
  }
  const paths files{arguments[2], arguments[3], arguments[4], arguments[5]};
  if (name == "small")
    run<models::gpt<2, 2, 16, 12, 40>, 12>(files);
  else
    run<models::gpt2_124m, 32>(files);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "round_trip_gpt2: %s\n", error.what());
  return 1;
}
