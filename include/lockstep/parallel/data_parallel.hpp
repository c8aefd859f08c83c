// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
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
#include <lockstep/parallel/output_tensors.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/ranks/agreement.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/averages.hpp>
#include <lockstep/parallel/trainer/calibrate.hpp>
#include <lockstep/parallel/trainer/check_matrices.hpp>
#include <lockstep/parallel/trainer/engine.hpp>
#include <lockstep/parallel/trainer/inference.hpp>
#include <lockstep/parallel/trainer/train_step.hpp>
#include <lockstep/parallel/trainer/user_inputs.hpp>
#include <lockstep/parallel/trainer/user_values.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep {

namespace detail {
struct checkpoint_access;
}

/// N replicas of a model that train in lockstep on one machine, as torch.nn.DataParallel does, with the results of one
/// device.
///
/// A step cuts the batch into N shards, runs forward, loss and backward on each shard in its own thread, sums the
/// gradients and applies the optimizer. The loss has one denominator for the whole batch, so that shard sizes, class
/// weights and ignored targets do not change the result. Replicas read one copy of the parameters, and each updates 1/N
/// of it. After the first steps of a batch size, a step neither allocates nor takes a lock.
///
/// Policies, in any order: a backend (default cpu), an optimizer (default sgd), a reduction (default reduce::automatic;
/// reduce::reproducible gives the same bits for any N), micro_shards<V> (default 8), a precision (default
/// precision::fp32), on the CPU an algorithm for convolutions (default convolution::f4). To train together with other
/// processes or machines, each with its own trainer, add a communicator, a reduction hook (default all_reduce_hook) and
/// bucket_bytes<Bytes>. The batches of the ranks, which may differ in size or be empty, are then parts of one batch,
/// and the result is again that of one device; while backward runs, buckets of gradients are reduced.
///
/// One thread at a time may call into the object; a second one gets an exception. When a call throws, the parameters
/// are as before the call and the object is usable. Over a communicator this holds on every rank, unless the
/// communicator itself has failed.
template <class Model, int N, class... Policies>
class data_parallel {
  static_assert(N >= 1, "lockstep: data_parallel: the number of replicas, after the model, is one or more");
  using engine = detail::trainer_engine<Model, N >= 1 ? N : 1, Policies...>;

 public:
  using model_type = Model;
  using backend_type = typename engine::backend_type;
  using optimizer_type = typename engine::optimizer_type;
  using loss_type = typename Model::loss_type;
  using value_type = typename backend_type::value_type;
  /// Type of the loss's targets: class indices, or values; of several losses, a std::tuple of theirs.
  using target_type = typename detail::target_of<loss_type, value_type>::type;
  using input_shape = batch_shape<Model::input_dims>;
  using communicator_type = typename engine::communicator_type;
  using hook_type = typename engine::hook_type;
  using output_shape = batch_shape<Model::output_dims>;
  /// The samples of a batch: a view, or a std::tuple of views for a model with several inputs.
  using input_view = typename detail::user_inputs<Model, value_type>::view;
  /// The outputs of a batch: a tensor, or a std::tuple of tensors from a model with several outputs.
  using output_tensor = typename detail::output_tensors<Model, value_type>::owner;
  using output_view = typename detail::output_tensors<Model, value_type>::view;
  using denominator_type = std::conditional_t<Model::loss_count == 1, double, std::array<double, Model::loss_count>>;
  using evaluation_type = detail::evaluation_of<Model>;

  static constexpr int replicas = N;
  /// Number of parts of a batch whose gradients are added as a balanced tree: N, or the micro-shards of
  /// reduce::reproducible.
  static constexpr int leaves = engine::leaves;
  /// True when the trainer works with other ranks over a communicator.
  static constexpr bool has_ranks = engine::has_ranks;
  /// The static plan: nodes, parameters, arena.
  static constexpr const auto& plan = Model::template plan<backend_type>;

 private:
  using user_values = detail::user_values<Model, value_type, has_ranks>;
  using target_span = typename user_values::target_span;

  /// False also for a model with an argument that the compiler has refused.
  static constexpr bool can_train = Model::has_loss;

 public:
  /// Allocates parameters, optimizer state and one gradient buffer a replica, and starts N - 1 threads. The parameters
  /// are those of `initialize(seed{0})`. Throws value_error for options out of their domain.
  explicit data_parallel(optimizer_type optimizer = {}, loss_type loss = {}, trainer_options options = {})
    requires(!has_ranks)
      : engine_(std::move(optimizer), std::move(loss), std::move(options)) {}

  /// The same, as a rank of a communicator, with one more thread for it. Throws communicator_error when the models of
  /// the ranks differ.
  data_parallel(optimizer_type optimizer, communicator_type communicator, loss_type loss = {},
                trainer_options options = {}, hook_type hook = {})
    requires(has_ranks)
      : engine_(std::move(optimizer), std::move(loss), std::move(options), std::move(communicator), std::move(hook)) {}

  // Compilers show these lines to a user who copies or moves a trainer.
  data_parallel(const data_parallel&) = delete;  // lockstep: a trainer stays where it is made: hold a unique_ptr to it
  data_parallel& operator=(const data_parallel&) = delete;  // lockstep: a trainer is not assigned: make another
  ~data_parallel() = default;

  /// Draws fresh parameters (PyTorch's default distributions) and clears the optimizer's state and the step counter.
  /// The seed also keys dropout.
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

  /// One training step on a batch of one sample or more. Returns the loss of the whole batch before the update.
  ///
  /// images: (B, input...), a tensor or a view, or a vector, array or span of all their values, one sample after the
  /// other, or a thrust::device_vector; a CUDA backend also takes them from a GPU's memory. A model with several inputs
  /// takes a std::tuple or a struct of these, in the order of the inputs. targets:
  /// class indices (B) or values (B, output...), as the loss takes them, in the same kinds of containers; class indices
  /// that are not std::int64_t are copied into memory that the trainer keeps. A model with several losses takes a
  /// std::tuple, or a struct, of the targets of each, in the order of the outputs. The sum of the samples' losses is
  /// divided by `denominator`; its default is the batch's own: the number of samples, or the weights of kept targets;
  /// several losses have one each. With ranks it is that of all their batches together: all name the same, or none
  /// does. The step includes the gradients of earlier `accumulate` calls. Throws shape_error or value_error for a batch
  /// that does not fit, value_error for optimizer options out of their domain, replica_error for an exception on a
  /// replica, non_finite_error when the options ask for it.
  template <class Images = input_view, class Targets = target_span>
    requires can_train
  double step(const Images& images, const Targets& targets, std::optional<denominator_type> denominator = {}) {
    static_assert(
        learns,
        "lockstep: data_parallel::step: every layer of the model is frozen, so that no step changes anything; "
        "leave a layer out of lockstep::frozen, or call evaluate");
    const auto entered = engine_.enter();
    const auto [own, refused] = user_.take(images, targets, reader(false));
    return detail::train_step(
        engine_, own,
        detail::agree(engine_, detail::rank_call::step, own, user_values::as_array(denominator), refused));
  }

  /// Skips the `skippable` at a path from the next call on, or runs it again. A skipped layer or composite hands its
  /// input on, in every call. When no pass since the last step has used a layer, a step leaves its parameters and their
  /// optimizer state as they are. Ranks may skip different layers: a layer that any rank uses takes part in the step of
  /// all ranks. `layer` is the path of a layer or of a composite, as in the names of its parameters. Throws value_error
  /// for any other path, and names those that can be skipped.
  void skip(std::string_view layer, bool skipped = true) {
    static_assert(engine::skips_type::any,
                  "lockstep: data_parallel::skip: no layer of the model can be skipped; put one inside "
                  "lockstep::skippable");
    const auto entered = engine_.enter();
    engine_.skips.set(layer, skipped);
  }

  /// The next step begins with zero states in every layer that carries them from step to step (lstm<..., carry_state>),
  /// as at the beginning of other sequences, and its batch may have another number of samples. Throws value_error
  /// between accumulate() and the step that uses its gradients.
  void reset_states() {
    static_assert(!Model::is_valid || engine::states_type::any,
                  "lockstep: data_parallel::reset_states: no layer of the model carries states from step to step; give "
                  "lstm, gru or rnn the option lockstep::carry_state");
    const auto entered = engine_.enter();
    if (engine_.pending)
      throw value_error("data_parallel::reset_states", "a trainer between steps", "one with accumulated gradients",
                        "call it after the step that uses them");
    engine_.states.reset();
  }

  /// Runs forward, loss and backward of a batch. The next `step` adds these gradients to its own, as after batches
  /// under torch's no_sync: nothing is updated, and no gradient leaves this process. Returns the loss of (this rank's
  /// part of) the batch.
  ///
  /// Without `denominator` each batch is divided by its own, and the gradients of k batches are k times those of one
  /// batch as large. To get exactly the gradients of that one batch, pass the denominator of all k batches together.
  ///
  /// Where a replica of one rank fails, other ranks may have accumulated their part: the next `step`, `accumulate` or
  /// `join` then throws communicator_error on every rank, and all drop what they had accumulated.
  template <class Images = input_view, class Targets = target_span>
    requires can_train
  double accumulate(const Images& images, const Targets& targets, std::optional<denominator_type> denominator = {}) {
    static_assert(learns,
                  "lockstep: data_parallel::accumulate: every layer of the model is frozen, so that there are no "
                  "gradients; leave a layer out of lockstep::frozen, or call evaluate");
    const auto entered = engine_.enter();
    const auto [own, refused] = user_.take(images, targets, reader(false));
    return detail::accumulate_step(
        engine_, own,
        detail::agree(engine_, detail::rank_call::accumulate, own, user_values::as_array(denominator), refused));
  }

  /// For a rank that has no more batches: takes part, with empty batches, in the steps of the other ranks until every
  /// rank has joined. (torch.distributed's join; nothing is scaled here, since a batch has one denominator.)
  void join()
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    for (;;) {
      const typename user_values::batch_type none{};
      const auto terms = detail::agree(engine_, detail::rank_call::join, none, {});
      if (terms.all_joined) return;
      if (terms.steps)
        detail::train_step(engine_, none, terms);
      else
        detail::accumulate_step(engine_, none, terms);
    }
  }

  // These overloads explain why a call cannot compile.
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
  double step(detail::anything, detail::anything, std::optional<denominator_type> = {}) const {
    static_assert(Model::leaf_count == 0,
                  "lockstep: data_parallel::step: the trainer is const, and a step changes its parameters; leave const "
                  "out, or predict with a lockstep::predictor made from the trainer");
    return 0;
  }

  /// Returns the outputs for a batch of any size, in the order of the samples: (B, output...), or a std::tuple of them
  /// when there are several outputs. Layers behave as in evaluation (no dropout).
  template <class Images = input_view>
  [[nodiscard]] output_tensor forward(const Images& images) {
    detail::token_copies<Model> tokens;
    const auto x = user_values::as_images(images, tokens);
    output_tensor out = detail::output_tensors<Model, value_type>::make(x.count);
    forward_taken(x, detail::output_tensors<Model, value_type>::view_of(out));
    return out;
  }

  /// The same into the caller's memory. Throws shape_error when the lengths differ.
  template <class Images = input_view>
  void forward(const Images& images, output_view out) {
    detail::token_copies<Model> tokens;
    forward_taken(user_values::as_images(images, tokens), out);
  }
  /// The same for what `step` takes as images: a vector, array or span of all values, or a view, of host memory or of a
  /// GPU's.
  template <class Images = input_view, class Out>
    requires(Model::output_count == 1 && !std::is_convertible_v<Out, output_view>)
  void forward(const Images& images, Out&& out) {
    forward(images, detail::take_outputs<value_type, Model::output_dims>("data_parallel::forward", out));
  }

  /// Returns loss and correct answers of a batch without training; those of each output where there are several.
  template <class Images = input_view, class Targets = target_span>
    requires can_train
  [[nodiscard]] evaluation_type evaluate(const Images& images, const Targets& targets) {
    const auto entered = engine_.enter();
    return detail::evaluate_all(engine_, user_.as_batch(images, targets, reader(true)));
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

  /// All parameters by PyTorch's names, readable and writable, including frozen ones.
  [[nodiscard]] auto parameters() { return values_of<tensors::parameters>(); }
  [[nodiscard]] auto parameters() const { return values_of<tensors::parameters>(); }

  /// What the model keeps besides: running statistics. Only a step that changes the parameters writes them.
  [[nodiscard]] auto buffers() { return values_of<tensors::buffers>(); }
  [[nodiscard]] auto buffers() const { return values_of<tensors::buffers>(); }

  /// Parameters and buffers, as torch's state_dict: all that files and predictors take from a trainer.
  [[nodiscard]] auto state() { return values_of<tensors::state>(); }
  [[nodiscard]] auto state() const { return values_of<tensors::state>(); }

  /// The exponential averages of all parameters that an `averaged` optimizer keeps, by PyTorch's names; of a parameter
  /// that no step has changed, of a frozen one, and of a buffer, its value. A copy, for a predictor or
  /// save_safetensors.
  [[nodiscard]] parameter_values<value_type> averages()
    requires requires { optimizer_type::average_state; }
  {
    const auto entered = engine_.enter();
    return detail::averages_of(engine_);
  }

  /// The gradients of the last step before clipping, summed over the replicas. Frozen parameters have no gradients and
  /// are left out (in PyTorch their .grad is None).
  [[nodiscard]] auto gradients() const {
    const auto buffers = engine_.homes.visible(engine_.gradient_buffers(), engine_.summed, !engine_.pending);
    return named_values_range<Model, backend_type, engine::count, false, tensors::learning>(buffers, engine_.front());
  }

  /// The mean of each loss over the last batch, without its weight, in the order of the outputs.
  [[nodiscard]] const std::array<double, Model::loss_count>& losses() const noexcept
    requires(Model::loss_count > 1)
  {
    return engine_.means;
  }

  /// The norm of all gradients of the last step together, before clipping. NaN unless max_norm or non_finite is set.
  [[nodiscard]] double gradient_norm() const noexcept { return engine_.norm; }

  /// The optimizer; its options may be changed between steps. If the new options need state, the next step allocates
  /// it.
  [[nodiscard]] optimizer_type& optimizer() noexcept { return engine_.optimizer; }
  [[nodiscard]] const optimizer_type& optimizer() const noexcept { return engine_.optimizer; }
  [[nodiscard]] const loss_type& loss() const noexcept { return engine_.loss; }

  /// From the next call on, records the activities of replica r on track r of `to`, and communication on track N; null
  /// stops recording. Throws value_error when `to` has too few tracks.
  void record(timeline* to) {
    constexpr int tracks = has_ranks ? N + 1 : N;
    if (to != nullptr && to->tracks() < tracks)
      throw value_error("data_parallel::record", "a timeline of " + std::to_string(tracks) + " tracks or more",
                        std::to_string(to->tracks()));
    const auto entered = engine_.enter();
    engine_.record = to;
  }

  /// Measures the link and a few passes over a batch. From then on sends buckets together or one by one, whichever ends
  /// a step first. Updates nothing. All ranks call it, before training or between steps. The result is the same on all
  /// ranks and can be kept for later runs. Throws value_error on all ranks, and changes nothing, while the hook of any
  /// rank holds state for the present messages.
  template <class Images = input_view, class Targets = target_span>
    requires(can_train && has_ranks)
  bucket_schedule calibrate_buckets(const Images& images, const Targets& targets) {
    const auto entered = engine_.enter();
    const auto [own, refused] = user_.take(images, targets, reader(false));
    return detail::calibrate(engine_, own, refused);
  }

  /// Sends the buckets in these messages; give every rank the same. Throws value_error, and changes nothing, for an
  /// invalid schedule or while the hook holds state for the present messages.
  void set_bucket_schedule(const bucket_schedule& schedule)
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    engine_.ranks.set_schedule(schedule);
  }

  /// Compares the parameters of all ranks by checksum. When they differ, throws communicator_error on every rank and
  /// names the first parameter that differs. All ranks call it. Ranks of one seed start equal and stay equal: a
  /// difference is a fault.
  void verify()
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    engine_.verify();
  }

  /// Copies the parameters, buffers, states of the optimizer and of its schedule, seed, step counters and skips of rank
  /// `root` to every rank, for example after that rank has loaded a file. States that layers carry become zeros. All
  /// ranks call it. Throws communicator_error, on all ranks, where their optimizers keep different numbers of states.
  void broadcast(int root = 0)
    requires(has_ranks)
  {
    const auto entered = engine_.enter();
    detail::broadcast_state(engine_, root);
  }

  /// The communicator of this trainer. Do not use it while a step runs.
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
  /// `values`: the host looks at targets that are values, too.
  [[nodiscard]] auto reader(bool values) const { return detail::host_reader<backend_type>(engine_.front(), values); }

  template <class Taken>
  void forward_taken(const Taken& x, output_view out) {
    const auto entered = engine_.enter();
    const auto to = detail::output_tensors<Model, value_type>::pack("data_parallel::forward", out, x.count);
    detail::forward_all(engine_, x.first, x.count, to);
  }

  /// False when there are parameters and all are frozen.
  static constexpr bool learns = Model::trainable_count > 0 || Model::parameter_count == 0;

  template <tensors Chosen>
  [[nodiscard]] auto values_of() {
    return named_values_range<Model, backend_type, 1, true, Chosen>({engine_.homes.front().parameters.data()},
                                                                    engine_.front(), engine_.homes.copies());
  }
  template <tensors Chosen>
  [[nodiscard]] auto values_of() const {
    return named_values_range<Model, backend_type, 1, false, Chosen>({engine_.homes.front().parameters.data()},
                                                                     engine_.front());
  }
  friend struct detail::checkpoint_access;

  static_assert(detail::check_policies<Policies...>());
  static_assert(detail::check_primitives<Model, backend_type>());
  static_assert(detail::check_groups<Model, backend_type, optimizer_type>(typename engine::kinds::groups{}));
  static_assert(detail::check_matrices<Model, backend_type, optimizer_type>());

  engine engine_;
  [[no_unique_address]] user_values user_;
};

}  // namespace lockstep
