// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>

#include "optimizer.hpp"
#include "options.hpp"

namespace lockstep {
struct cpu;
struct cpu_bf16;
struct cuda;
struct cuda_bf16;
class checkpoints;
class timeline;
struct trace_options;
struct report_data;
struct report_run;
struct sampling;
}  // namespace lockstep

namespace lockstep_train {

class batch_source;

/// Samples with what belongs to them: borrowed, and without the static shape that stays inside a network's own source.
struct batch {
  std::int64_t samples = 0;
  const float* inputs = nullptr;
  const std::int32_t* tokens = nullptr;  ///< inputs of a network that reads text
  const std::int64_t* labels = nullptr;  ///< of a classifier
  const float* values = nullptr;         ///< of a regression
};

/// What an evaluation adds up over batches.
struct score {
  double loss_sum = 0;
  double denominator = 0;
  std::int64_t correct = 0;
  std::int64_t counted = 0;

  void add(const score& other) {
    loss_sum += other.loss_sum;
    denominator += other.denominator;
    correct += other.correct;
    counted += other.counted;
  }
};

/// A data_parallel of any network and any number of replicas.
class trainer {
 public:
  trainer() = default;
  trainer(const trainer&) = delete;
  trainer& operator=(const trainer&) = delete;
  virtual ~trainer() = default;

  virtual double step(const batch& b) = 0;
  virtual score evaluate(const batch& b) = 0;
  /// Extents of the gathered output for a batch of that many samples; runs one forward pass.
  virtual lockstep::dims output_shape(std::int64_t samples) = 0;
  /// Sets the course of the learning rate.
  virtual void follow(const chosen_schedule& schedule) = 0;
  /// State buffers of the optimizer.
  [[nodiscard]] virtual std::int64_t optimizer_states() const = 0;
  virtual void load(const std::string& file) = 0;
  /// Writes parameters and buffers, with notes beside them.
  virtual void save(const std::string& file, const std::vector<std::pair<std::string, std::string>>& notes) const = 0;
  /// Steps done, in all processes of the run.
  [[nodiscard]] virtual std::int64_t steps() const = 0;
  /// Begins to write a checkpoint of the run over these batches, with the program's notes.
  virtual void save_checkpoint(lockstep::checkpoints& to, batch_source& batches,
                               const std::vector<std::pair<std::string, std::string>>& notes) = 0;
  /// Goes on from the newest checkpoint that is whole.
  virtual void restore_checkpoint(lockstep::checkpoints& from, batch_source& batches) = 0;
  /// The bytes that follow a prompt, of a network that writes text. Throws lockstep::value_error for a prompt that is
  /// longer than it remembers.
  [[nodiscard]] virtual std::string generate(std::string_view prompt, std::int64_t count,
                                             const lockstep::sampling& how) const = 0;
  /// Whether all parameters are finite.
  [[nodiscard]] virtual bool finite() const = 0;
  /// Writes down what the replicas do, a track each, from the next step on; null ends it.
  virtual void record(lockstep::timeline* to) = 0;
};

/// A network that this program was built with.
struct network {
  std::int64_t parameters;
  std::int64_t inputs;          ///< of one sample
  std::int64_t outputs;         ///< for one sample
  bool classifies;              ///< has labels and an accuracy
  bool reads_text;              ///< has tokens as inputs, and as labels those that come next
  std::int64_t longest_prompt;  ///< bytes that it writes on from, at most; 0: writes no text
  std::string (*plan)(int replicas, std::int64_t batch);
  std::string (*buckets)();
  void (*write_trace)(const std::string& file, const lockstep::timeline& times, const lockstep::trace_options& options);
  lockstep::report_data (*report)(const lockstep::timeline& times, const lockstep::report_run& run);
  std::unique_ptr<trainer> (*make)(const options& o);
};

// Defined in models.hpp, lenet.hpp, resnet20.hpp, vit.hpp, gpt_text.hpp and lstm_text.hpp, and instantiated in sources
// of their own, which compile side by side: X.cpp for the CPU, X_bf16.cpp for some of them in bfloat16, X.cu for CUDA
// in both precisions.
template <class Backend>
[[nodiscard]] network linear_network();
template <class Backend>
[[nodiscard]] network cnn_network_cifar10();  ///< pictures of 3x32x32
template <class Backend>
[[nodiscard]] network cnn_network_idx();  ///< pictures of 1x28x28
template <class Backend>
[[nodiscard]] network mlp_network_cifar10();
template <class Backend>
[[nodiscard]] network mlp_network_idx();
template <class Backend>
[[nodiscard]] network lenet_network_idx();
template <class Backend>
[[nodiscard]] network resnet20_network_cifar10();
template <class Backend>
[[nodiscard]] network vit_network_cifar10();
template <class Backend>
[[nodiscard]] network gpt_network_text();
template <class Backend>
[[nodiscard]] network gpt_dropout_network_text();
template <class Backend>
[[nodiscard]] network lstm_network_text();

}  // namespace lockstep_train
