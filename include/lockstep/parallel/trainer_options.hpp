// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep {

/// What a step does when a gradient holds a NaN or an infinity.
enum class non_finite : std::uint8_t {
  ignore,  ///< does not look: the update spreads the value
  skip,    ///< leaves parameters and optimizer state as they are and goes on
  stop,    ///< leaves both as they are and throws non_finite_error
};

/// Where a NaN or an infinity was found.
struct non_finite_report {
  std::int64_t step = 0;
  int replica = -1;       ///< the first replica that holds it; -1 when only the sum over the replicas does
  std::string parameter;  ///< name of the one nearest to the loss, where backward met the value first
};

/// A NaN or an infinity in a gradient, found before the update. The parameters are as before the step.
class non_finite_error : public error {
 public:
  [[gnu::cold, gnu::noinline]] explicit non_finite_error(non_finite_report report)
      : error("data_parallel::step", "finite gradients",
              "a NaN or an infinity in the gradient of " + report.parameter +
                  (report.replica < 0 ? " once summed" : " on replica " + std::to_string(report.replica)) +
                  " in step " + std::to_string(report.step),
              "lower the learning rate, set max_norm, or set non_finite::skip"),
        report_(std::move(report)) {}

  [[nodiscard]] const non_finite_report& report() const noexcept { return report_; }

 private:
  non_finite_report report_;
};

/// A step that exceeds its time limit, and where it is.
struct stall_report {
  std::int64_t step = 0;
  double seconds = 0;  ///< so far
  int replica = -1;    ///< a replica that the others wait for; -1 when they wait for the communicator
  std::string doing;   ///< `backward of conv2`, `update`
  int bucket = -1;     ///< the next bucket to send to other ranks; -1: none

  /// The report as a sentence.
  [[nodiscard]] std::string text() const {
    std::string t = "step " + std::to_string(step) + " has run for " + std::to_string(seconds) + " s: ";
    if (replica >= 0)
      t.append("replica ").append(std::to_string(replica)).append(" is in ").append(doing);
    else
      t.append(doing);
    if (bucket >= 0) t.append(", bucket ").append(std::to_string(bucket)).append(" is next");
    return t;
  }
};

/// Settings of a data_parallel trainer that may differ from run to run.
struct trainer_options {
  int threads_per_replica = 1;  ///< threads of the vendor library inside one replica
  bool pin = true;              ///< bind the threads of replicas that compute on the CPU to processors
  /// GPUs by index, for a backend that runs on them: one for all replicas (none: the first), or one for each replica,
  /// as device_ids of torch.nn.DataParallel. Neighbours may share a GPU, equally many on each: {0, 0, 1, 1}.
  std::vector<int> devices{};
  /// Whether replicas on GPUs record a step as a graph and launch that from then on. NCCL's manual warns that graphs on
  /// several GPUs of one process may wait for each other forever; without graphs each step is enqueued piece by piece.
  bool graphs = true;
  /// What matrix products and convolutions may round their factors to, on backends that offer it; overrides the
  /// precision policy.
  std::optional<factor_rounding> rounding{};
  /// Scales gradients down so that the norm of all of them together is at most this, as torch.nn.utils.clip_grad_norm_.
  /// When the norm is NaN all gradients become NaN, unless `non_finite` skips or stops the step.
  double max_norm = std::numeric_limits<double>::infinity();
  /// Clips each gradient, summed over the replicas and scaled by max_norm, to [-max_value, max_value], as
  /// torch.nn.utils.clip_grad_value_. A NaN stays one.
  double max_value = std::numeric_limits<double>::infinity();
  lockstep::non_finite non_finite = lockstep::non_finite::ignore;
  /// Called in the thread that called `step`, before the step is skipped or stopped.
  std::function<void(const non_finite_report&)> on_non_finite{};
  double time_limit = 0;  ///< seconds that a step may take before on_stall is called; 0: no limit
  /// Called once for a step that exceeds time_limit, while it runs, from a separate thread. Must not throw. Afterwards
  /// replicas that run on devices give up: the step throws backend_error, and the trainer is unusable.
  std::function<void(const stall_report&)> on_stall{};
  /// Every `verify_every` steps, compares the parameters with the other ranks' before the update, as verify() does; 0:
  /// never.
  std::int64_t verify_every = 0;

  /// Throws value_error for settings out of their domain.
  void check() const {
    if (threads_per_replica < 1)
      throw value_error("data_parallel", "one thread or more for each replica", std::to_string(threads_per_replica));
    for (const int device : devices)
      if (device < 0) throw value_error("data_parallel", "devices of index zero or more", std::to_string(device));
    if (!(time_limit >= 0) || time_limit > 1e6)
      throw value_error("data_parallel", "a time_limit from 0 to a million seconds", std::to_string(time_limit));
    if (time_limit > 0 && !on_stall)
      throw value_error("data_parallel", "on_stall beside a time_limit", "none", "say there what is to be done");
    if (verify_every < 0)
      throw value_error("data_parallel", "verify_every of zero steps or more", std::to_string(verify_every));
    if (!(max_norm > 0)) throw value_error("data_parallel", "a max_norm above zero", std::to_string(max_norm));
    if (!(max_value > 0)) throw value_error("data_parallel", "a max_value above zero", std::to_string(max_value));
  }
};

}  // namespace lockstep
