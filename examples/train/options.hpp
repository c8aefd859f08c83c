// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep_train {

/// How exactly layers compute.
enum class arithmetic : std::uint8_t { fp32, tf32, bf16 };
inline constexpr std::array<std::string_view, 3> arithmetic_names{"fp32", "tf32", "bf16"};  ///< in that order

/// What the command line says.
struct options {
  std::string model = "cnn";
  std::string data = "synthetic";
  std::string backend = "cpu";
  std::vector<int> devices;  ///< indices of GPUs: one that replicas share, or one for each; none: as many as there are
  int replicas = 1;
  std::int64_t batch = 64;
  std::int64_t epochs = 10;
  std::optional<std::int64_t> steps;  ///< instead of epochs
  std::string optimizer = "sgd";
  double learning_rate = 0.01;
  double momentum = 0;
  double weight_decay = 0;
  bool decay_matrices = false;  ///< of matrices alone
  double dropout = 0;
  std::string schedule = "constant";
  std::int64_t warmup = 0;  ///< steps in which the learning rate rises, before the schedule
  double max_norm = std::numeric_limits<double>::infinity();
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool augment = false;
  bool normalise = false;
  std::string init;
  std::string save;
  std::string log;
  std::string trace;
  std::string report;
  std::string checkpoint;  ///< folder of checkpoints
  std::int64_t checkpoint_every = 500;
  bool resume = false;
  bool reproducible = false;                ///< --reduce
  arithmetic precision = arithmetic::fp32;  ///< --precision
  std::string convolution = "f4";           ///< how the CPU computes convolutions of 3 x 3
  std::int64_t generate = 0;                ///< bytes to write after the training
  std::string prompt = "\n";                ///< what they follow
  double temperature = 0.8;
  bool plan = false;
  bool keep_going = false;  ///< after a loss that is not finite
  bool quiet = false;
};

/// The models that read a text.
[[nodiscard]] inline bool reads_text(const options& o) { return o.model == "gpt" || o.model == "lstm"; }

/// Of so many layers that few numbers of replicas are built.
[[nodiscard]] inline bool is_deep(const options& o) {
  return o.model == "resnet20" || o.model == "vit" || reads_text(o);
}

/// Whether a run does nothing but write text with what it loads, so that it needs no data.
[[nodiscard]] inline bool only_generates(const options& o) {
  return o.steps == std::int64_t{0} && o.generate > 0 && o.data == "synthetic" && o.save.empty() && o.log.empty() &&
         o.trace.empty() && o.report.empty() && o.checkpoint.empty();
}

[[nodiscard]] inline bool computes_in_bf16_on_cpu(const options& o) {
  return o.precision == arithmetic::bf16 && o.backend == "cpu";
}

/// A command line that cannot be followed. The message is one line.
class usage_error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The options, or nothing when --help was asked for and printed. Throws usage_error.
[[nodiscard]] std::optional<options> parse(int argc, const char* const* argv);

}  // namespace lockstep_train
