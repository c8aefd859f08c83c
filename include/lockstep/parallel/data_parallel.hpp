// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/policies.hpp>
#include <lockstep/parallel/shard.hpp>
#include <lockstep/parallel/thread_team.hpp>

namespace lockstep {

/// How replicas use the machine.
struct replica_options {
  int threads_per_replica = 1;  ///< threads of the vendor library inside one replica
  bool pin = true;              ///< bind replica threads to processors
};

/// Sums over the samples that were evaluated; add those of several batches with +=.
struct evaluation {
  double loss_sum = 0;
  double denominator = 0;
  std::int64_t correct = 0;
  std::int64_t counted = 0;  ///< samples whose target was not ignored

  [[nodiscard]] double loss() const { return loss_sum / denominator; }
  [[nodiscard]] double accuracy() const { return static_cast<double>(correct) / static_cast<double>(counted); }

  evaluation& operator+=(const evaluation& other) {
    loss_sum += other.loss_sum;
    denominator += other.denominator;
    correct += other.correct;
    counted += other.counted;
    return *this;
  }
};

/// N replicas of a model that train in lockstep on one machine, as torch.nn.DataParallel does, with the results of one
/// device.
///
/// A step cuts the batch into N shards, runs forward, loss and backward on each in a thread of its own, sums the
/// gradients and applies the optimizer; the loss has one denominator for the whole batch, so that shard sizes, class
/// weights and ignored targets cannot enter. Replicas read one copy of the parameters, and each updates its 1/N.
/// After the first steps of a batch size, a step neither allocates nor takes a lock.
///
/// Policies, in any order: a backend (default cpu), an optimizer (default sgd).
///
/// One thread at a time may call into the object; a second one gets an exception. When a call throws, the parameters
/// are as before it and the object is usable.
template <class Model, int N, class... Policies>
class data_parallel {
  static_assert(N >= 1, "lockstep: data_parallel: one replica or more");

 public:
  using model_type = Model;
  using backend_type = typename detail::policies<Policies...>::backend;
  using optimizer_type = typename detail::policies<Policies...>::optimizer;
  using loss_type = typename Model::loss_type;
  using value_type = typename backend_type::value_type;
  using input_shape = batch_shape<Model::input_dims>;
  using output_shape = batch_shape<Model::output_dims>;
  using input_view = tensor_view<const value_type, input_shape>;
  using output_tensor = tensor<value_type, output_shape>;

  static constexpr int replicas = N;
  /// The static plan: nodes, parameters, arena.
  static constexpr const auto& plan = Model::template plan<backend_type>;

  /// Allocates parameters, optimizer state and one gradient buffer a replica, and starts N - 1 threads. Parameters are
  /// those of `initialize(seed{0})`. Throws value_error for options out of their domain.
  explicit data_parallel(optimizer_type optimizer = {}, loss_type loss = {}, replica_options options = {})
      : optimizer_(std::move(optimizer)),
        loss_(std::move(loss)),
        parameters_(plan.parameter_count),
        team_(options.pin) {
    if (options.threads_per_replica < 1)
      throw value_error("data_parallel", "one thread or more for each replica",
                        std::to_string(options.threads_per_replica));
    if constexpr (Model::has_loss) loss_.check_options(Model::output_dims);
    prepare_optimizer();
    // Each replica makes its own buffers, so that their pages lie near its processor.
    on_all([&](std::size_t r) { replicas_[r] = std::make_unique<replica>(options.threads_per_replica); });
    initialize(seed{0});
  }

  data_parallel(const data_parallel&) = delete;
  data_parallel& operator=(const data_parallel&) = delete;
  ~data_parallel() = default;

  /// Draws fresh parameters (PyTorch's default distributions), clears the optimizer's state and the step counter. The
  /// seed also keys dropout.
  void initialize(seed s) {
    const auto entered = enter();
    initialize_parameters<Model, backend_type>(parameters_.data(), s);
    for (auto& state : states_) std::fill_n(state.data(), state.size(), value_type{0});
    seed_ = s;
    step_ = 0;
    first_state_step_ = 0;
  }

  /// One training step on a batch of any size from 1: returns the loss of the whole batch before the update.
  ///
  /// images: (B, input...), targets: what the loss takes, class indices (B) or values (B, output...).
  /// Throws shape_error or value_error for a batch that does not fit or for options of the optimizer that were set
  /// since and make no sense, replica_error for what a replica threw.
  template <class L = loss_type>
  double step(input_view images, std::span<const typename L::template target_type<value_type>> targets) {
    const auto entered = enter();
    prepare_optimizer();
    const double denominator = check_batch(images, targets);
    const double scale = denominator > 0 ? 1.0 / denominator : 0.0;
    std::array<double, count> sums{};
    std::atomic<bool> failed{false};
    std::array<std::exception_ptr, count> errors{};
    const std::int64_t samples = images.extent(0);

    team_.run([&](int member) {
      const auto r = static_cast<std::size_t>(member);
      const shard_range shard = shard_of(samples, N, member);
      try {
        replica& self = *replicas_[r];
        const dropout_key key{
            .seed = seed_.value, .step = static_cast<std::uint64_t>(step_), .layer = 0, .first_sample = shard.first};
        sums[r] = self.executor.train(
            loss_, parameters_.data(), self.gradients.data(), images.data_handle() + shard.first * plan.input.size(),
            targets.data() + shard.first * loss_.target_size(plan.output), shard.count, key, scale);
      } catch (...) {
        errors[r] = std::current_exception();
        failed.store(true, std::memory_order_relaxed);
      }
      team_.barrier();
      if (!failed.load(std::memory_order_relaxed)) update(r);
    });

    if (failed.load(std::memory_order_relaxed)) detail::rethrow_first(errors);
    ++step_;
    double total = 0;
    for (const double sum : sums) total += sum;
    return total / denominator;
  }

  template <class... Arguments>
    requires(!Model::has_loss)
  double step(const Arguments&...) {
    static_assert(
        Model::has_loss && sizeof...(Arguments) >= 0,
        "lockstep: data_parallel::step: the model has no loss; name one: model<net, input<...>, cross_entropy>");
    return 0;
  }

  /// The outputs for a batch of any size, gathered in the order of the samples: (B, output...). Layers behave as in
  /// evaluation (no dropout).
  [[nodiscard]] output_tensor forward(input_view images) {
    output_tensor out(images.extent(0));
    forward(images, out.view());
    return out;
  }

  /// The same into memory of the caller. Throws shape_error when the lengths differ.
  void forward(input_view images, tensor_view<value_type, output_shape> out) {
    const auto entered = enter();
    if (out.extent(0) != images.extent(0))
      throw shape_error("data_parallel::forward", std::to_string(images.extent(0)) + " rows of output",
                        std::to_string(out.extent(0)));
    on_all([&](std::size_t r) {
      const shard_range shard = shard_of(images.extent(0), N, static_cast<int>(r));
      replicas_[r]->executor.forward(parameters_.data(), images.data_handle() + shard.first * plan.input.size(),
                                     shard.count, out.data_handle() + shard.first * plan.output.size());
    });
  }

  /// Loss and hits of a batch without training.
  template <class L = loss_type>
  [[nodiscard]] evaluation evaluate(input_view images,
                                    std::span<const typename L::template target_type<value_type>> targets) {
    const auto entered = enter();
    evaluation all{.denominator = check_batch(images, targets)};
    std::array<evaluation, count> parts{};
    on_all([&](std::size_t r) {
      const shard_range shard = shard_of(images.extent(0), N, static_cast<int>(r));
      replica& self = *replicas_[r];
      const value_type* x = images.data_handle() + shard.first * plan.input.size();
      evaluation part;  // kept on the stack: the array's elements share a cache line
      self.executor.infer(parameters_.data(), x, shard.count,
                          [&](std::int64_t first, std::int64_t samples, const value_type* y) {
                            const auto* t = targets.data() + (shard.first + first) * loss_.target_size(plan.output);
                            part.loss_sum += loss_.template forward_backward<backend_type>(
                                self.executor.context(), samples, plan.output, y, t, 1.0, nullptr);
                            part.correct += loss_.correct(samples, plan.output, y, t);
                            part.counted += loss_.counted(samples, t);
                          });
      parts[r] = part;
    });
    for (const auto& part : parts) all += part;
    return all;
  }

  template <class... Arguments>
    requires(!Model::has_loss)
  evaluation evaluate(const Arguments&...) {
    static_assert(Model::has_loss && sizeof...(Arguments) >= 0,
                  "lockstep: data_parallel::evaluate: the model has no loss; name one: "
                  "model<net, input<...>, cross_entropy>");
    return {};
  }

  /// The learnable tensors by PyTorch's names, readable and writable.
  [[nodiscard]] auto parameters() { return named_values_range<Model, backend_type, 1, true>({parameters_.data()}); }
  [[nodiscard]] auto parameters() const {
    return named_values_range<Model, backend_type, 1, false>({parameters_.data()});
  }

  /// The gradients of the last step, summed over the replicas.
  [[nodiscard]] auto gradients() const {
    std::array<const value_type*, count> buffers{};
    for (std::size_t r = 0; r < count; ++r) buffers[r] = replicas_[r]->gradients.data();
    return named_values_range<Model, backend_type, count, false>(buffers);
  }

  /// The optimizer; its options may be changed between steps. One that comes to need state gets it in the next step.
  [[nodiscard]] optimizer_type& optimizer() noexcept { return optimizer_; }
  [[nodiscard]] const optimizer_type& optimizer() const noexcept { return optimizer_; }
  [[nodiscard]] const loss_type& loss() const noexcept { return loss_; }

  /// Steps since initialize().
  [[nodiscard]] std::int64_t steps() const noexcept { return step_; }

 private:
  static constexpr auto count = static_cast<std::size_t>(N);

  struct replica {
    explicit replica(int threads) : executor(threads), gradients(plan.parameter_count) {}

    lockstep::executor<Model, backend_type> executor;
    aligned_buffer<value_type> gradients;
  };

  /// Refuses a second thread while one is inside.
  class entrance {
   public:
    explicit entrance(std::atomic<bool>& busy) : busy_(busy) {
      if (busy_.exchange(true, std::memory_order_acquire))
        throw value_error("data_parallel", "one thread at a time", "a call while another one runs",
                          "give each thread an object of its own, or take turns");
    }
    entrance(const entrance&) = delete;
    entrance& operator=(const entrance&) = delete;
    ~entrance() { busy_.store(false, std::memory_order_release); }

   private:
    std::atomic<bool>& busy_;
  };

  [[nodiscard]] entrance enter() { return entrance(busy_); }

  /// Runs f(r) on every replica's thread; the first exception arrives as a replica_error.
  template <class F>
  void on_all(const F& f) {
    std::array<std::exception_ptr, count> errors{};
    team_.run([&](int member) {
      const auto r = static_cast<std::size_t>(member);
      try {
        f(r);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    });
    detail::rethrow_first(errors);
  }

  /// Checks the optimizer's options and allocates the state that they ask for and that is not there yet.
  void prepare_optimizer() {
    optimizer_.check_options();
    for (std::size_t s = 0; s < optimizer_.states(); ++s) {
      if (states_.at(s).size() > 0) continue;
      states_.at(s) = aligned_buffer<value_type>(plan.parameter_count);
      first_state_step_ = step_;
    }
  }

  /// Checks a batch against its targets; returns the denominator of its loss.
  template <class Target>
  double check_batch(const input_view& images, std::span<const Target> targets) const {
    const std::int64_t samples = images.extent(0);
    if (samples < 1) throw shape_error("data_parallel", "a batch of one sample or more", std::to_string(samples));
    const std::int64_t wanted = samples * loss_.target_size(plan.output);
    if (static_cast<std::int64_t>(targets.size()) != wanted)
      throw shape_error("data_parallel",
                        std::to_string(wanted) + " targets for " + std::to_string(samples) + " samples",
                        std::to_string(targets.size()));
    return loss_.denominator(targets.data(), wanted, plan.output);
  }

  /// Sums the gradients of this replica's slice of the parameters and applies the optimizer to it.
  void update(std::size_t r) {
    // Slices begin on cache lines, so that replicas never write to the same one.
    constexpr std::int64_t line = buffer_alignment / sizeof(value_type);
    const auto edge = [](std::size_t k) {
      if (k == count) return plan.parameter_count;
      return plan.parameter_count * static_cast<std::int64_t>(k) / N / line * line;
    };
    std::array<const value_type*, count> gradients{};
    for (std::size_t k = 0; k < count; ++k) gradients[k] = replicas_[k]->gradients.data();
    optimizer_.template rule<value_type>(
        step_ - first_state_step_,
        [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
          std::array<value_type*, States> states{};
          for (std::size_t s = 0; s < States; ++s) states[s] = states_[s].data();
          backend_type::template reduce_and_update<count, States>(
              replicas_[r]->executor.context(), edge(r), edge(r + 1), gradients, parameters_.data(), states, rule);
        });
  }

  optimizer_type optimizer_;
  loss_type loss_;
  seed seed_;
  std::int64_t step_ = 0;
  std::int64_t first_state_step_ = 0;  ///< the step that met the optimizer's state first
  aligned_buffer<value_type> parameters_;
  std::array<aligned_buffer<value_type>, optimizer_type::max_states> states_;
  std::array<std::unique_ptr<replica>, count> replicas_;
  std::atomic<bool> busy_{false};
  thread_team<N> team_;  // last: its threads end before what they use
};

}  // namespace lockstep
