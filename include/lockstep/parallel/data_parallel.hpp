// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/parallel/evaluation.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/ranks/agreement.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/engine.hpp>
#include <lockstep/parallel/trainer/inference.hpp>
#include <lockstep/parallel/trainer/train_step.hpp>
#include <lockstep/parallel/trainer/user_arrays.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep {

namespace detail {
struct checkpoint_access;
}

/// N replicas of a model that train in lockstep on one machine, as torch.nn.DataParallel does, with the results of one
/// device.
///
/// A step cuts the batch into N shards, runs forward, loss and backward on each in a thread of its own, sums the
/// gradients and applies the optimizer; the loss has one denominator for the whole batch, so that shard sizes, class
/// weights and ignored targets cannot enter. Replicas read one copy of the parameters, and each updates its 1/N.
/// After the first steps of a batch size, a step neither allocates nor takes a lock.
///
/// Policies, in any order: a backend (default cpu), an optimizer (default sgd), a reduction (default
/// reduce::automatic; reduce::reproducible gives the same bits for any N), micro_shards<V> (default 8); and to train
/// together with other processes or machines, each with a trainer of its own, a communicator, a reduction hook (default
/// all_reduce_hook) and bucket_bytes<Bytes>. The ranks' batches then are parts of one batch, which may differ in size
/// or be empty, and its result is again that of one device; while backward runs, buckets of gradients are reduced.
///
/// One thread at a time may call into the object; a second one gets an exception. When a call throws, the parameters
/// are as before it and the object is usable; over a communicator that holds on every rank, unless the communicator
/// itself has failed.
template <class Model, int N, class... Policies>
class data_parallel {
  static_assert(N >= 1, "lockstep: data_parallel: the number of replicas, behind the model, is one or more");
  using engine = detail::trainer_engine<Model, N >= 1 ? N : 1, Policies...>;

 public:
  using model_type = Model;
  using backend_type = typename engine::backend_type;
  using optimizer_type = typename engine::optimizer_type;
  using loss_type = typename Model::loss_type;
  using value_type = typename backend_type::value_type;
  /// Of the loss' targets: class indices, or values.
  using target_type = typename detail::target_of<loss_type, value_type>::type;
  using input_shape = batch_shape<Model::input_dims>;
  using communicator_type = typename engine::communicator_type;
  using hook_type = typename engine::hook_type;
  using output_shape = batch_shape<Model::output_dims>;
  using input_view = tensor_view<const value_type, input_shape>;
  using output_tensor = tensor<value_type, output_shape>;

  static constexpr int replicas = N;
  /// Parts of a batch whose gradients are added as a balanced tree: N, or the micro-shards of reduce::reproducible.
  static constexpr int leaves = engine::leaves;
  /// True when the trainer works with others over a communicator.
  static constexpr bool has_ranks = engine::has_ranks;
  /// The static plan: nodes, parameters, arena.
  static constexpr const auto& plan = Model::template plan<backend_type>;

 private:
  using target_span = std::span<const target_type>;

  /// False also for a model of which the compiler has refused an argument.
  static constexpr bool can_train = Model::has_loss;

 public:
  /// Allocates parameters, optimizer state and one gradient buffer a replica, and starts N - 1 threads. Parameters are
  /// those of `initialize(seed{0})`. Throws value_error for options out of their domain.
  explicit data_parallel(optimizer_type optimizer = {}, loss_type loss = {}, trainer_options options = {})
    requires(!has_ranks)
      : engine_(std::move(optimizer), std::move(loss), std::move(options)) {}

  /// The same, as a rank of a communicator, with a thread more for it. Throws communicator_error when the ranks' models
  /// differ.
  data_parallel(optimizer_type optimizer, communicator_type communicator, loss_type loss = {},
                trainer_options options = {}, hook_type hook = {})
    requires(has_ranks)
      : engine_(std::move(optimizer), std::move(loss), std::move(options), std::move(communicator), std::move(hook)) {}

  // Compilers show these lines to who copies or moves a trainer.
  data_parallel(const data_parallel&) = delete;  // lockstep: a trainer stays where it is made: hold a unique_ptr to it
  data_parallel& operator=(const data_parallel&) = delete;  // lockstep: a trainer is not assigned: make another
  ~data_parallel() = default;

  /// Draws fresh parameters (PyTorch's default distributions), clears the optimizer's state and the step counter. The
  /// seed also keys dropout.
  void initialize(seed s) {
    const auto entered = engine_.enter();
    engine_.initialize(s);
  }
  template <class Number>
    requires(!std::is_convertible_v<const Number&, seed>)
  void initialize(const Number&) {
    static_assert(std::is_convertible_v<const Number&, seed>,
                  "lockstep: data_parallel::initialize: takes a seed: write initialize(lockstep::seed{42})");
  }

  /// One training step on a batch of any size from 1: returns the loss of the whole batch before the update.
  ///
  /// images: (B, input...), a tensor or a view, or a vector, array or span of all their values, back to back. targets:
  /// what the loss takes, class indices (B) or values (B, output...), in the same kinds of containers; class indices
  /// that are not std::int64_t are copied into memory that the trainer keeps.
  /// `denominator` is what the sum of the samples' losses is divided by; without it the batch's own: the samples, or
  /// the weights of kept targets. Gradients of `accumulate` calls before are part of the step.
  /// Throws shape_error or value_error for a batch that does not fit or for options of the optimizer that were set
  /// since and make no sense, replica_error for what a replica threw, non_finite_error when options say so.
  template <class Images = input_view, class Targets = target_span>
    requires can_train
  double step(const Images& images, const Targets& targets, std::optional<double> denominator = {}) {
    static_assert(
        learns,
        "lockstep: data_parallel::step: every layer of the model is frozen, so that no step changes anything; "
        "leave a layer out of lockstep::frozen, or call evaluate");
    const auto entered = engine_.enter();
    const auto [own, refused] = take(images, targets);
    return detail::train_step(engine_, own, detail::agree(engine_, detail::rank_call::step, own, denominator, refused));
  }

  /// From now on skips a layer that is inside `skippable`, or runs it again: it then hands on what arrives, in every
  /// call, and a step that no pass since the last one has used it in leaves its parameters and their optimizer state as
  /// they are. Ranks may skip different layers: one that any rank uses takes part on all. `layer` is the path of its
  /// parameters' names. Throws value_error, naming the layers that can be skipped.
  void skip(std::string_view layer, bool skipped = true) {
    static_assert(detail::layer_skips<Model, backend_type>::any,
                  "lockstep: data_parallel::skip: no layer of the model can be skipped; put one inside "
                  "lockstep::skippable");
    const auto entered = engine_.enter();
    engine_.skips.set(layer, skipped);
  }

  /// Forward, loss and backward of a batch whose gradients the next `step` adds to its own, as batches under
  /// torch's no_sync do: nothing is updated, no gradient leaves this process. Returns the loss of (this rank's part of)
  /// the batch.
  ///
  /// Without `denominator` each batch is divided by its own, and the gradients of k batches are k times those of one
  /// batch as large; pass the denominator of all of them together to have exactly that batch.
  template <class Images = input_view, class Targets = target_span>
    requires can_train
  double accumulate(const Images& images, const Targets& targets, std::optional<double> denominator = {}) {
    static_assert(learns,
                  "lockstep: data_parallel::accumulate: every layer of the model is frozen, so that there are no "
                  "gradients; leave a layer out of lockstep::frozen, or call evaluate");
    const auto entered = engine_.enter();
    const auto [own, refused] = take(images, targets);
    return detail::accumulate_step(engine_, own,
                                   detail::agree(engine_, detail::rank_call::accumulate, own, denominator, refused));
  }

  /// Of a rank that has no more batches: takes part in the steps of those that have, with empty batches, until every
  /// rank has come here. (torch.distributed's join; here nothing is scaled, since a batch has one denominator.)
  void join()
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    for (;;) {
      const batch none{nullptr, {}, 0};
      const detail::batch_terms terms = detail::agree(engine_, detail::rank_call::join, none, {});
      if (terms.all_joined) return;
      if (terms.steps)
        detail::train_step(engine_, none, terms);
      else
        detail::accumulate_step(engine_, none, terms);
    }
  }

  // What cannot be called says why.
  template <class... Arguments>
    requires(!can_train || (sizeof...(Arguments) != 2 && sizeof...(Arguments) != 3))
  double step(const Arguments&...) {
    static_assert(
        Model::has_loss || !Model::is_valid || sizeof...(Arguments) > 9,
        "lockstep: data_parallel::step: the model has no loss; name one: model<net, input<...>, cross_entropy>");
    static_assert(!can_train,
                  "lockstep: data_parallel::step: takes the images and the targets of a batch, and a denominator where "
                  "it is not the batch's own");
    return 0;
  }
  double step(detail::anything, detail::anything, std::optional<double> = {}) const {
    static_assert(Model::leaf_count == 0,
                  "lockstep: data_parallel::step: the trainer is const, and a step changes its parameters; leave const "
                  "out, or call evaluate");
    return 0;
  }

  /// The outputs for a batch of any size, gathered in the order of the samples: (B, output...). Layers behave as in
  /// evaluation (no dropout).
  template <class Images = input_view>
  [[nodiscard]] output_tensor forward(const Images& images) {
    const input_view x = as_images(images);
    output_tensor out(x.extent(0));
    forward(x, out.view());
    return out;
  }

  /// The same into memory of the caller. Throws shape_error when the lengths differ.
  template <class Images = input_view>
  void forward(const Images& images, tensor_view<value_type, output_shape> out) {
    const auto entered = engine_.enter();
    const input_view x = as_images(images);
    if (out.extent(0) != x.extent(0))
      throw shape_error("data_parallel::forward", std::to_string(x.extent(0)) + " rows of output",
                        std::to_string(out.extent(0)));
    detail::forward_all(engine_, x.data_handle(), x.extent(0), out.data_handle());
  }

  /// Loss and hits of a batch without training.
  template <class Images = input_view, class Targets = target_span>
    requires can_train
  [[nodiscard]] evaluation evaluate(const Images& images, const Targets& targets) {
    const auto entered = engine_.enter();
    return detail::evaluate_all(engine_, as_batch(images, targets));
  }

  template <class... Arguments>
    requires(!can_train || sizeof...(Arguments) != 2)
  evaluation evaluate(const Arguments&...) {
    static_assert(Model::has_loss || !Model::is_valid || sizeof...(Arguments) > 9,
                  "lockstep: data_parallel::evaluate: the model has no loss; name one: "
                  "model<net, input<...>, cross_entropy>");
    static_assert(!can_train, "lockstep: data_parallel::evaluate: takes the images and the targets of a batch");
    return {};
  }

  /// All parameters by PyTorch's names, frozen ones too, readable and writable.
  [[nodiscard]] auto parameters() {
    return named_values_range<Model, backend_type, 1, true>({engine_.homes.front().parameters.data()}, engine_.front(),
                                                            engine_.homes.copies());
  }
  [[nodiscard]] auto parameters() const {
    return named_values_range<Model, backend_type, 1, false>({engine_.homes.front().parameters.data()},
                                                             engine_.front());
  }

  /// The gradients of the last step, summed over the replicas; before they were clipped. Frozen parameters have none
  /// and are left out (in PyTorch their .grad is None).
  [[nodiscard]] auto gradients() const {
    const auto buffers = engine_.homes.visible(engine_.gradient_buffers(), engine_.summed, !engine_.pending);
    return named_values_range<Model, backend_type, engine::count, false, true>(buffers, engine_.front());
  }

  /// The norm of all gradients of the last step together, before clipping; NaN unless max_norm or non_finite is set.
  [[nodiscard]] double gradient_norm() const noexcept { return engine_.norm; }

  /// The optimizer; its options may be changed between steps. One that comes to need state gets it in the next step.
  [[nodiscard]] optimizer_type& optimizer() noexcept { return engine_.optimizer; }
  [[nodiscard]] const optimizer_type& optimizer() const noexcept { return engine_.optimizer; }
  [[nodiscard]] const loss_type& loss() const noexcept { return engine_.loss; }

  /// Writes what replica r does to track r of `to`, and what is communicated to track N, from the next call on; null
  /// ends it. Throws value_error when `to` has too few tracks.
  void record(timeline* to) {
    constexpr int tracks = has_ranks ? N + 1 : N;
    if (to != nullptr && to->tracks() < tracks)
      throw value_error("data_parallel::record", "a timeline of " + std::to_string(tracks) + " tracks or more",
                        std::to_string(to->tracks()));
    const auto entered = engine_.enter();
    engine_.record = to;
  }

  /// Measures the link and a few passes over a batch, and from then on sends buckets together or one by one, whichever
  /// ends a step first. Nothing is updated. All ranks call it, before training or between steps; the result is the same
  /// on all, and can be kept for later runs. Throws value_error on all ranks, and changes nothing, while the hook of
  /// any keeps state of the present messages.
  template <class Images = input_view, class Targets = target_span>
    requires(can_train && has_ranks)
  bucket_schedule calibrate_buckets(const Images& images, const Targets& targets) {
    const auto entered = engine_.enter();
    auto [own, refused] = take(images, targets);
    try {
      engine_.ranks.check_may_reschedule();
    } catch (...) {
      refused = std::current_exception();
    }
    return engine_.calibrate(own, detail::agree(engine_, detail::rank_call::accumulate, own, {}, refused));
  }

  /// Sends the buckets in these messages, the same on every rank. Throws value_error, and changes nothing, for what is
  /// no schedule or while the hook keeps state of the present messages.
  void set_bucket_schedule(const bucket_schedule& schedule)
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    engine_.ranks.set_schedule(schedule);
  }

  /// Throws communicator_error, on every rank, unless all hold the same parameters, compared by checksum; it names the
  /// first that differ. All ranks call it. Ranks of one seed start equal and stay so: a difference is a fault.
  void verify()
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    engine_.verify();
  }

  /// Gives every rank the parameters, the optimizer's state, the seed and the step counter of rank `root`, such as
  /// after that one has loaded a file. All ranks call it, with the same optimizer options.
  void broadcast(int root = 0)
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    detail::broadcast_state(engine_, root);
  }

  /// This trainer's way to the other ranks. Not while a step runs.
  [[nodiscard]] communicator_type& communicator() noexcept
    requires(has_ranks)
  {
    return engine_.ranks.communicator();
  }
  [[nodiscard]] hook_type& hook() noexcept
    requires(has_ranks)
  {
    return engine_.ranks.hook();
  }

  /// Steps since initialize().
  [[nodiscard]] std::int64_t steps() const noexcept { return engine_.steps; }

 private:
  /// False when there are parameters and all are frozen.
  static constexpr bool learns = Model::trainable_count > 0 || Model::parameter_count == 0;

  using batch = typename engine::template batch<target_type>;
  friend struct detail::checkpoint_access;

  template <class Images>
  [[nodiscard]] static input_view as_images(const Images& images) {
    return detail::take_images<value_type, Model::input_dims>("data_parallel", images);
  }

  template <class Images, class Targets>
  [[nodiscard]] batch as_batch(const Images& images, const Targets& targets) {
    const input_view x = detail::take_images<value_type, Model::input_dims>("data_parallel", images);
    return {x.data_handle(), detail::take_targets<target_type>("data_parallel", targets, labels_), x.extent(0)};
  }

  /// A batch, or why none could be made of what was handed in.
  struct taken_batch {
    batch own;
    std::exception_ptr refused;
  };

  /// Throws only where no other rank waits for this one to say so.
  template <class Images, class Targets>
  [[nodiscard]] taken_batch take(const Images& images, const Targets& targets) {
    if constexpr (!has_ranks) return {as_batch(images, targets), nullptr};
    try {
      return {as_batch(images, targets), nullptr};
    } catch (...) {
      return {batch{nullptr, {}, 0}, std::current_exception()};
    }
  }

  static_assert(detail::check_policies<Policies...>());

  engine engine_;
  [[no_unique_address]] typename detail::labels_of<target_type>::type labels_;
};

}  // namespace lockstep
