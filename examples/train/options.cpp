// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "gpu.hpp"
#include "replicas_built.hpp"

namespace lockstep_train {

namespace {

/// A finite number of zero or more. CLI::NonNegativeNumber lets NaN and infinity through.
std::string check_factor(const std::string& text) {
  double value = 0;
  if (CLI::detail::lexical_cast(text, value) && std::isfinite(static_cast<float>(value)) && value >= 0) return {};
  return fmt::format("expected a finite number of zero or more, got {}", text);
}

/// A finite number above zero.
std::string check_norm(const std::string& text) {
  double value = 0;
  if (CLI::detail::lexical_cast(text, value) && std::isfinite(value) && value > 0) return {};
  return fmt::format("expected a finite number above zero, got {}", text);
}

/// The whole of `text` as a number; CLI's own conversion wraps those that are too large around.
template <class T>
std::optional<T> whole_number(const std::string& text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string check_count(const std::string& text) {
  constexpr auto largest = std::numeric_limits<std::int64_t>::max();
  if (whole_number<std::int64_t>(text).value_or(0) >= 1) return {};
  return fmt::format("expected a whole number from 1 to {}, got {}", largest, text);
}

std::string check_steps(const std::string& text) {
  constexpr auto largest = std::numeric_limits<std::int64_t>::max();
  if (whole_number<std::int64_t>(text).value_or(-1) >= 0) return {};
  return fmt::format("expected a whole number from 0 to {}, got {}", largest, text);
}

std::string check_name(const std::string& text) {
  return text.empty() ? "expected the name of a file, got nothing" : "";
}

std::string check_device(const std::string& text) {
  constexpr auto largest = std::numeric_limits<int>::max();
  if (whole_number<int>(text).value_or(-1) >= 0) return {};
  return fmt::format("expected a whole number from 0 to {}, got {}", largest, text);
}

std::string check_backend(const std::string& text) {
  if (text != "cuda" || gpu() != nullptr) return {};
  return "expected cpu, got cuda: this program was built without CUDA; build it with -DLOCKSTEP_ENABLE_CUDA=ON, which "
         "needs CUDA 13 and cuDNN 9";
}

std::string check_seed(const std::string& text) {
  constexpr auto largest = std::numeric_limits<std::uint64_t>::max();
  if (whole_number<std::uint64_t>(text)) return {};
  return fmt::format("expected a whole number from 0 to {}, got {}", largest, text);
}

/// Whether a path leads to what the program holds open: that is written into, one output after the other.
bool is_own_descriptor(const std::string& path) {
  return path == "/dev/stdout" || path == "/dev/stderr" || path.rfind("/dev/fd/", 0) == 0 ||
         path.rfind("/proc/self/fd/", 0) == 0;
}

/// Whether two paths lead to one file, which need not exist yet.
bool same_file(const std::string& a, const std::string& b) {
  std::error_code ignored;
  if (std::filesystem::equivalent(a, b, ignored)) return true;
  const auto whole = [&](const std::string& path) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, ignored), ignored);
  };
  return whole(a) == whole(b);
}

/// Throws usage_error when two outputs would end up in one regular file, of which one would be lost.
void require_different_files(const options& o) {
  const std::array<std::pair<const char*, const std::string*>, 4> files{
      {{"--save", &o.save}, {"--log", &o.log}, {"--trace", &o.trace}, {"--report", &o.report}}};
  for (std::size_t i = 0; i < files.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) {
      if (files[i].second->empty() || files[k].second->empty()) continue;
      if (is_own_descriptor(*files[i].second) || is_own_descriptor(*files[k].second)) continue;
      if (!same_file(*files[i].second, *files[k].second)) continue;
      std::error_code missing;
      const auto status = std::filesystem::status(*files[i].second, missing);
      if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) continue;
      throw usage_error(fmt::format("{} and {} name the same file {}; give each its own", files[k].first,
                                    files[i].first, *files[i].second));
    }
}

/// Throws usage_error unless the program was built for that many replicas with that flag.
void require_replicas(int replicas, const std::set<int>& built, const std::string& flag) {
  if (built.count(replicas) != 0) return;
  std::string list;
  for (const int n : built)
    list.append(list.empty() ? "" : n == *built.rbegin() ? " or " : ", ").append(std::to_string(n));
  throw usage_error(fmt::format("{} works with {} --replicas, not with {}", flag, list, replicas));
}

/// What a deep model does that not every backend can.
const char* what_it_does(const options& o) {
  if (reads_text(o)) return "reads text";
  return o.model == "vit" ? "computes attention" : "normalises batches";
}

/// The same for everything that bears on them; `flag` chose the backend.
template <class Backend>
void require_replicas(const options& o, const std::string& flag) {
  using built = replicas_built<Backend>;
  require_replicas(o.replicas, built::automatic::counts(), flag);
  if (o.reproducible) require_replicas(o.replicas, built::reproducible::counts(), "--reduce reproducible");
  if (!is_deep(o)) return;
  using deep = replicas_built_deep<Backend>;
  if constexpr (!deep::automatic::any)
    throw usage_error(
        fmt::format("--model {} {}, which --backend {} does not; use cpu", o.model, what_it_does(o), o.backend));
  require_replicas(o.replicas, deep::automatic::counts(), "--model " + o.model);
  if (o.reproducible)
    require_replicas(o.replicas, deep::reproducible::counts(), "--model " + o.model + " --reduce reproducible");
}

/// Throws usage_error unless there is a network in bfloat16 on the CPU for these options.
void require_cpu_bf16(const options& o) {
  if (o.model != "cnn" && o.model != "mlp" && o.model != "resnet20")
    throw usage_error("--precision bf16 on the CPU goes with --model cnn, mlp or resnet20, not with " + o.model);
  require_replicas<lockstep::cpu_bf16>(o, "--precision bf16 on the CPU");
}

/// Throws usage_error unless there is a network with another algorithm of convolutions for these options.
void require_convolving(const options& o) {
  if (o.model != "resnet20" || o.backend != "cpu" || o.precision != arithmetic::fp32 || o.reproducible)
    throw usage_error("--convolution " + o.convolution +
                      " goes with --model resnet20 on the CPU, --precision fp32 and --reduce automatic");
  using built = replicas_built_deep<lockstep::cpu_convolving<lockstep::convolution_algorithm::f2>>;
  require_replicas(o.replicas, built::automatic::counts(), "--convolution " + o.convolution);
}

/// Throws usage_error unless there is a network with dropout for these options.
void require_dropout(const options& o) {
  if (o.model != "gpt" || o.dropout != 0.1 || o.reproducible)
    throw usage_error(
        fmt::format("--dropout: expected 0, or 0.1 with --model gpt and --reduce automatic, for which the "
                    "program was built, got {} with --model {} and --reduce {}",
                    o.dropout, o.model, o.reproducible ? "reproducible" : "automatic"));
  require_replicas(o.replicas, replicas_built_dropout::automatic::counts(), "--dropout");
}

}  // namespace

std::optional<options> parse(int argc, const char* const* argv) {
  options o;
  std::string precision = "fp32";
  std::string reduce = "automatic";
  std::string decays = "all";
  bool no_shuffle = false;

  const bool with_gpu = gpu() != nullptr;
  CLI::App app{with_gpu ? "Trains a small network, data-parallel over replicas on this machine's processor or GPU."
                        : "Trains a small network, data-parallel over replicas on this machine's processor.",
               "lockstep-train"};
  app.add_option(
         "--model", o.model,
         "linear: Linear(10, 10) on synthetic rows; cnn: one convolution and one linear layer; "
         "mlp: three linear layers; lenet: LeNet-5, for MNIST; resnet20: 20 layers, and vit: a vision transformer "
         "of 3 layers of width 192, for CIFAR-10; gpt: GPT-2 with 4 layers of width 128, and lstm: two layers "
         "of 256, for a text")
      ->check(CLI::IsMember(std::set<std::string>{"linear", "cnn", "mlp", "lenet", "resnet20", "vit", "gpt", "lstm"}))
      ->capture_default_str();
  app.add_option("--data", o.data,
                 "synthetic, or a folder with CIFAR-10's binary version or with MNIST's IDX files, or a text file, "
                 "read as bytes "
                 "in samples of 128, its last tenth for validation; linear draws rows instead")
      ->capture_default_str();
  app.add_option("--backend", o.backend, "Where replicas run")
      ->check(check_backend)
      ->check(CLI::IsMember(with_gpu ? std::set<std::string>{"cpu", "cuda"} : std::set<std::string>{"cpu"}))
      ->capture_default_str();
  CLI::Option* device = nullptr;
  if (with_gpu)
    device = app.add_option("--device", o.devices,
                            "With --backend cuda: index of the GPU that replicas share, or as many as there are "
                            "replicas, with commas between them [as many as there are]")
                 ->delimiter(',')
                 ->check(check_device);
  app.add_option("--replicas", o.replicas, "Copies of the network that train in lockstep")
      ->check(CLI::IsMember(replicas_built<lockstep::cpu>::automatic::counts()))
      ->capture_default_str();
  auto* batch = app.add_option("--batch", o.batch, "Samples a step, cut into one shard a replica [64; linear: 100]")
                    ->check(check_count);
  auto* epochs =
      app.add_option("--epochs", o.epochs, "Passes over the training data")->check(check_count)->capture_default_str();
  app.add_option("--steps", o.steps, "Steps to train, instead of --epochs; 0 only tests what is loaded")
      ->check(check_steps)
      ->excludes(epochs);
  app.add_option("--optimizer", o.optimizer, "How parameters are updated")
      ->check(CLI::IsMember(std::set<std::string>{"sgd", "adam", "adamw"}))
      ->capture_default_str();
  auto* learning_rate =
      app.add_option("--learning-rate", o.learning_rate, "Of the optimizer [0.01; adam and adamw: 0.001]")
          ->check(check_factor);
  auto* momentum = app.add_option("--momentum", o.momentum, "Of sgd [0]")->check(check_factor);
  auto* weight_decay =
      app.add_option("--weight-decay", o.weight_decay, "Of the optimizer, on all parameters [0; adamw: 0.01]")
          ->check(check_factor);
  app.add_option("--schedule", o.schedule,
                 "Course of the learning rate: constant; step, a tenth after each third of the steps; cosine, down to "
                 "0; one-cycle, up from 1/25 in the first 30 % and down to nearly 0")
      ->check(CLI::IsMember(std::set<std::string>{"constant", "step", "cosine", "one-cycle"}))
      ->capture_default_str();
  app.add_option("--warmup", o.warmup, "Steps in which the learning rate rises, before the schedule begins [0]")
      ->check(check_steps);
  app.add_option("--max-norm", o.max_norm, "Scale gradients down to this norm")->check(check_norm);
  auto* decay = app.add_option("--decay", decays,
                               "What decays, of --model gpt and lstm: all parameters, or matrices, and no biases and "
                               "normalisations")
                    ->check(CLI::IsMember(std::set<std::string>{"all", "matrices"}))
                    ->capture_default_str();
  app.add_option("--dropout", o.dropout, "Probability of dropout in --model gpt: 0, or GPT-2's 0.1")
      ->check(check_factor)
      ->capture_default_str();
  app.add_option(
         "--seed", o.seed,
         "Keys the first parameters, the order of samples, dropout and what is drawn for --generate; synthetic data is "
         "always the same")
      ->check(check_seed)
      ->capture_default_str();
  app.add_flag("--no-shuffle", no_shuffle, "Take samples in the data set's order");
  app.add_flag("--augment", o.augment,
               "Change training pictures at random: crop them out of a border of 4 zeros, mirror half of them");
  app.add_flag("--normalise", o.normalise,
               "Bring each channel of the pictures to mean 0 and deviation 1 over the training set; the file of --save "
               "notes both");
  app.add_option("--init", o.init, "Start from the parameters in this safetensors file")->check(check_name);
  app.add_option("--save", o.save, "Write the trained parameters to this safetensors file")->check(check_name);
  app.add_option("--precision", precision,
                 with_gpu ? "Of all arithmetic; with bf16 layers compute in bfloat16, between parameters and gradients "
                            "of float32; with --backend cuda, tf32 rounds the factors of products to TF32"
                          : "Of all arithmetic; with bf16 layers compute in bfloat16, between parameters and gradients "
                            "of float32")
      ->check(CLI::IsMember(with_gpu ? std::set<std::string>{"fp32", "tf32", "bf16"}
                                     : std::set<std::string>{"fp32", "bf16"}))
      ->capture_default_str();
  app.add_option("--convolution", o.convolution,
                 "How the CPU computes convolutions of 3 x 3, of --model resnet20: f4 or f2, by Winograd's algorithm "
                 "with tiles of 4 x 4 or 2 x 2; direct, by the sums that define them")
      ->check(CLI::IsMember(std::set<std::string>{"f4", "f2", "direct"}))
      ->capture_default_str();
  app.add_option(
         "--reduce", reduce,
         "How gradients are summed: automatic, the fastest way; reproducible, to the same bits on 1, 2, 4 and 8 "
         "replicas")
      ->check(CLI::IsMember(std::set<std::string>{"automatic", "reproducible"}))
      ->capture_default_str();
  app.add_option("--log", o.log, "Write JSON lines to this file, one a step and one an epoch")->check(check_name);
  app.add_option("--trace", o.trace, "Write a timeline of the first steps to this file, for Perfetto")
      ->check(check_name);
  app.add_option("--report", o.report, "Write a page about the run to this HTML file")->check(check_name);
  auto* checkpoint =
      app.add_option("--checkpoint", o.checkpoint,
                     "Write checkpoints of the run to this folder; the newest three stay, the run's end among them")
          ->check(check_name);
  app.add_option("--checkpoint-every", o.checkpoint_every, "Steps from one checkpoint to the next")
      ->check(check_count)
      ->needs(checkpoint)
      ->capture_default_str();
  app.add_flag("--resume", o.resume,
               "Go on from the newest checkpoint in the folder that is whole, or begin where there is none; with the "
               "same flags the run ends as if it had never stopped")
      ->needs(checkpoint);
  app.add_flag("--keep-going", o.keep_going, "Go on after a loss that is not finite, which otherwise ends the run");
  auto* generate =
      app.add_option("--generate", o.generate,
                     "After the training, print so many bytes of text, by --model gpt or lstm; with --init "
                     "and --steps 0 no data is needed")
          ->check(check_count);
  app.add_option("--prompt", o.prompt, "What the printed text follows [a new line]")->needs(generate);
  app.add_option("--temperature", o.temperature,
                 "How freely bytes are chosen: from 0, the likeliest each time, over 1, as likely as the model says")
      ->check(check_factor)
      ->needs(generate)
      ->capture_default_str();
  app.add_flag("--plan", o.plan, "Print the static plan and stop");
  app.add_flag("--quiet", o.quiet, "Print nothing but errors");

  app.footer(
      "The files of --save, --log, --trace and --report may be devices or pipes, as /dev/stdout.\n"
      "Exit codes: 0 done; 1 failed; 2 bad input; 3 the loss was not finite, --save was left out.");

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    std::string line = error.what();
    std::replace(line.begin(), line.end(), '\n', ' ');
    throw usage_error(line + "; --help lists the flags");
  }
  require_different_files(o);
  if (o.optimizer != "sgd") {
    if (!momentum->empty()) throw usage_error("--momentum goes with --optimizer sgd, not with " + o.optimizer);
    if (learning_rate->empty()) o.learning_rate = 0.001;
    if (o.optimizer == "adamw" && weight_decay->empty()) o.weight_decay = 0.01;
  }
  if (o.warmup > 0 && o.schedule == "one-cycle")
    throw usage_error("--warmup goes with another --schedule than one-cycle, which rises by itself");
  if (batch->empty() && o.model == "linear") o.batch = 100;
  for (const auto& [given, flag] : {std::pair(o.augment, "--augment"), std::pair(o.normalise, "--normalise")})
    if (given && (o.model == "linear" || reads_text(o)))
      throw usage_error(std::string(flag) + " changes pictures, and --model " + o.model + " has none");
  if (!decay->empty() && !reads_text(o))
    throw usage_error("--decay goes with --model gpt or lstm, not with " + o.model);
  if (o.generate > 0 && !reads_text(o))
    throw usage_error("--generate goes with --model gpt or lstm, which write text, not with " + o.model);
  if (o.generate > 0 && o.prompt.empty())
    throw usage_error("--prompt: expected a text of one byte or more, got nothing");
  o.decay_matrices = decays == "matrices";
  o.shuffle = !no_shuffle;
  o.reproducible = reduce == "reproducible";
  for (std::size_t i = 0; i < arithmetic_names.size(); ++i)
    if (precision == arithmetic_names[i]) o.precision = static_cast<arithmetic>(i);
  if (o.backend == "cuda") {
    require_replicas<lockstep::cuda>(o, "--backend cuda");
    if (o.devices.size() > 1 && o.devices.size() != static_cast<std::size_t>(o.replicas))
      throw usage_error(fmt::format("--device: expected one GPU, or one for each of the {} replicas, got {}",
                                    o.replicas, o.devices.size()));
  } else {
    require_replicas<lockstep::cpu>(o, "--backend cpu");
    if (device != nullptr && !device->empty()) throw usage_error("--device names a GPU and goes with --backend cuda");
    if (o.precision == arithmetic::tf32) throw usage_error("--precision tf32 goes with --backend cuda");
    if (o.precision == arithmetic::bf16) require_cpu_bf16(o);
  }
  if (o.convolution != "f4") require_convolving(o);
  if (o.dropout > 0) require_dropout(o);
  return o;
}

}  // namespace lockstep_train
