// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <latch>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/backend/backend.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/fork_guard.hpp>
#include <lockstep/core/start_thread.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/parallel/output_tensors.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/precision.hpp>
#include <lockstep/parallel/serve/predictor_options.hpp>
#include <lockstep/parallel/serve/predictor_parameters.hpp>
#include <lockstep/parallel/serve/predictor_queue.hpp>
#include <lockstep/parallel/serve/predictor_replica.hpp>
#include <lockstep/parallel/serve/state_copy.hpp>
#include <lockstep/parallel/trainer/rethrow_first.hpp>
#include <lockstep/parallel/trainer/thread_team.hpp>
#include <lockstep/parallel/trainer/user_inputs.hpp>

#if LOCKSTEP_HAS_ONEDNN()
#include <lockstep/backend/cpu/cpu.hpp>
#else
#include <lockstep/backend/cpu/no_cpu.hpp>
#endif

/// \file
/// Serves a trained model. Not part of lockstep.hpp, since it needs <future>, <mutex> and <condition_variable>.

namespace lockstep {

/// N replicas of a model that only run forward, for requests from any number of threads at once.
///
/// Requests, each of one or a few samples, are joined while replicas work. A free replica takes a batch at once when no
/// other replica works; otherwise it waits until there are `max_batch` samples or the oldest request has waited
/// `latency`. So a lone request never waits. A request of more than `max_batch` samples is cut and dealt to the
/// replicas. Requests are served in order of arrival, and outputs are in the order of a request's samples. The outputs
/// equal those of data_parallel::forward up to rounding: a backend may sum in another order for another batch size, and
/// the size of the batch depends on the other requests.
///
/// A replica is one thread with one executor; its activations take only the smaller plan of inference. All replicas on
/// one device read one copy of the parameters (on a backend that computes in another element type, each replica
/// converts them in every run). There are no gradients and no optimizer state. After the first batches lockstep
/// allocates nothing for a request of `predict`.
///
/// Once `max_pending` samples wait, requests are refused with a value_error, so that the queue cannot grow without
/// bound; while fewer wait, a request of any size is taken. When a replica throws, the callers of the batch that it
/// ran, and no others, get a replica_error.
///
/// A predictor can be made from a const trainer, so a program that must not change a trainer can predict with it. The
/// predictor copies parameters and buffers, so the trainer may go on training while the predictor serves. Any number of
/// threads may call `predict`, `submit`, `update`, `update_from` and `statistics` at once; `predict`, `submit` and
/// `statistics` also work on a const predictor.
///
///     const predictor<classifier, 2> server(trainer, {.max_batch = 16});
///     const auto scores = server.predict(images);  // from any thread
template <class Model, int N, class Backend = cpu>
class predictor {
  static_assert(N >= 1, "lockstep: predictor: one replica or more");
  static_assert(backend<Backend>, "lockstep: predictor: what follows N is a backend");
  static_assert(
      !is_missing<Backend>,
      "lockstep: predictor: the cpu backend needs oneDNN, and this build has LOCKSTEP_WITHOUT_ONEDNN; install "
      "oneDNN and configure again, or name another backend after N");

 public:
  using model_type = Model;
  using backend_type = Backend;
  using value_type = typename Backend::value_type;
  using input_shape = batch_shape<Model::input_dims>;
  using output_shape = batch_shape<Model::output_dims>;
  /// The samples of a batch: a view, or a std::tuple of views for a model with several inputs.
  using input_view = typename detail::user_inputs<Model, value_type>::view;
  /// The outputs of a batch: a tensor, or a std::tuple of tensors from a model with several outputs; and views of them.
  using output_view = typename detail::output_tensors<Model, value_type>::view;
  using output_tensor = typename detail::output_tensors<Model, value_type>::owner;

  static constexpr int replicas = N;
  /// The static plan: nodes, parameters, arena.
  static constexpr const auto& plan = Model::template plan<Backend>;

  /// Starts N threads, on the devices that the options name. The parameters are those that a trainer begins with, until
  /// new ones are assigned through `parameters` before the first request, as load_safetensors does. Throws value_error
  /// for options out of their domain, replica_error for an exception on a replica while it warmed up, resource_error
  /// when a thread cannot be started.
  explicit predictor(predictor_options options = {})
      : queue_((options.check(), std::make_unique<detail::prediction_queue>(options, N))),
        devices_(options.placement(N)),
        parameters_(devices_) {
    start(options);
  }

  /// The same with a copy of the parameters of a trainer or of another predictor. Also throws as `update_from`.
  template <class Trainer>
    requires detail::parameter_holder<Trainer, value_type>
  explicit predictor(const Trainer& trainer, predictor_options options = {}) : predictor(options) {
    update_from(trainer);
  }

  predictor(const predictor&) = delete;
  predictor& operator=(const predictor&) = delete;

  /// Answers the waiting requests without further delay, and returns when no thread waits inside. A request that
  /// arrives meanwhile gets a value_error.
  ~predictor() { stop(); }

  /// Returns the outputs for a batch of any size: (B, output...). `images` are what data_parallel::forward takes.
  /// Blocks until the outputs are computed. Callable from any thread. Throws shape_error for samples that do not fit,
  /// value_error when too many samples wait, replica_error for an exception on a replica.
  template <class Images = input_view>
  [[nodiscard]] output_tensor predict(const Images& images) const {
    detail::token_copies<Model> tokens;
    const taken x = inputs_of::take("predictor", images, tokens);
    output_tensor out = tensors_of::make(x.count);
    predict_taken(x, tensors_of::view_of(out));
    return out;
  }

  /// The same into the caller's memory, whose contents are unspecified after an exception. Also throws shape_error when
  /// the lengths differ.
  template <class Images = input_view>
  void predict(const Images& images, output_view out) const {
    detail::token_copies<Model> tokens;
    predict_taken(inputs_of::take("predictor", images, tokens), out);
  }

  /// Submits a copy of a batch and returns at once. The future gives the outputs, or throws replica_error as `predict`
  /// does. Callable from any thread. Throws value_error when too many samples wait.
  template <class Images = input_view>
  [[nodiscard]] std::future<output_tensor> submit(const Images& images) const {
    detail::token_copies<Model> tokens;
    auto request = std::make_unique<submission>(inputs_of::take("predictor", images, tokens));
    auto outputs = request->promise.get_future();
    if (request->samples == 0) {
      request->promise.set_value(std::move(request->outputs));
    } else {
      queue().push(*request);
      static_cast<void>(request.release());  // it deletes itself once it is answered
    }
    return outputs;
  }

  /// The learnable tensors by PyTorch's names, readable and writable. Do not write them while requests are served; call
  /// `update` for that.
  [[nodiscard]] auto parameters() { return values_of<tensors::parameters>(); }
  [[nodiscard]] auto parameters() const { return values_of<tensors::parameters>(); }
  /// What the model keeps besides, such as running statistics.
  [[nodiscard]] auto buffers() { return values_of<tensors::buffers>(); }
  [[nodiscard]] auto buffers() const { return values_of<tensors::buffers>(); }
  /// Parameters and buffers, as torch's state_dict.
  [[nodiscard]] auto state() { return values_of<tensors::state>(); }
  [[nodiscard]] auto state() const { return values_of<tensors::state>(); }

  /// Calls f(*this) while no replica works, so that f may write the parameters: every request sees them either as they
  /// were before or as f leaves them. Requests that arrive meanwhile wait; f must not make a request or call `update`.
  /// Callable from any thread.
  ///
  ///     server.update([](auto& self) { load_safetensors(self, "better.safetensors"); });
  template <class F>
  void update(F&& f) {
    const detail::prediction_queue::pause paused(queue());
    std::forward<F>(f)(*this);
  }

  /// Replaces parameters and buffers by those of a trainer while requests are served; no request sees a mix. The
  /// trainer is read before serving pauses, and must not train meanwhile. Throws value_error or shape_error, and
  /// changes nothing, when its parameters have other names or shapes.
  template <class Trainer>
    requires detail::parameter_holder<Trainer, value_type>
  void update_from(const Trainer& trainer) {
    const auto values = detail::copy_state<value_type>("predictor::update_from", std::as_const(*this).state(), trainer);
    update([&](predictor& self) {
      std::size_t next = 0;
      for (const auto& tensor : self.state()) tensor.assign(values[next++]);
    });
  }

  /// Returns counts since construction, and the number of waiting samples. Callable from any thread.
  [[nodiscard]] predictor_statistics statistics() const { return queue().statistics(); }

 private:
  using inputs_of = detail::user_inputs<Model, value_type>;
  using taken = typename inputs_of::taken;
  using tensors_of = detail::output_tensors<Model, value_type>;

  void predict_taken(const taken& x, const output_view& out) const {
    const auto to = tensors_of::pack("predictor::predict", out, x.count);
    if (x.count == 0) return;
    detail::tensor_prediction<Model, value_type> request;
    request.samples = x.count;
    request.x = x.first;
    request.y = to;
    queue().push_and_wait(request);
    if (request.error) std::rethrow_exception(request.error);
  }

  /// A request of `submit`, which owns its tensors.
  struct submission : detail::tensor_prediction<Model, value_type> {
    explicit submission(const taken& from)
        : inputs(inputs_of::make(from.count)), outputs(tensors_of::make(from.count)) {
      const auto own = inputs_of::pack(inputs);
      detail::each_input<Model>([&]<std::size_t K>(std::int64_t size) {
        std::copy_n(detail::array_of<K>(from.first), from.count * size, detail::array_of<K>(own));
      });
      this->samples = from.count;
      this->x = detail::pack_inputs<Model, const value_type>([&]<std::size_t K>() { return detail::array_of<K>(own); });
      this->y = tensors_of::pack("predictor::submit", tensors_of::view_of(outputs), from.count);
      this->on_answer = [](detail::prediction& request) noexcept {
        const std::unique_ptr<submission> self(static_cast<submission*>(&request));
        if (self->error)
          self->promise.set_exception(std::move(self->error));
        else
          self->promise.set_value(std::move(self->outputs));
      };
    }

    typename inputs_of::owner inputs;
    output_tensor outputs;
    std::promise<output_tensor> promise;
  };

  template <tensors Chosen>
  [[nodiscard]] auto values_of() {
    return named_values_range<Model, Backend, 1, true, Chosen>({parameters_.data()}, parameters_.front(),
                                                               parameters_.copies());
  }
  template <tensors Chosen>
  [[nodiscard]] auto values_of() const {
    return named_values_range<Model, Backend, 1, false, Chosen>({parameters_.data()}, parameters_.front());
  }

  using errors = std::array<std::exception_ptr, static_cast<std::size_t>(N)>;

  void start(const predictor_options& options) {
    const auto rounding = detail::rounding_on<Backend>("predictor", options.rounding);
    errors failed{};
    try {
      for (std::size_t r = 0; r < threads_.size(); ++r)
        threads_[r] = detail::start_thread(wanted(r), [this, r, rounding, &options, &failed] {
          std::unique_ptr<replica> own;
          std::vector<detail::prediction_part> parts;
          try {
            parts.reserve(static_cast<std::size_t>(options.max_batch));
            // Made in this thread, so that its pages lie near its processor.
            own = std::make_unique<replica>(
                replica_place{.threads = options.threads_per_replica, .device = devices_[r], .rounding = rounding},
                options.max_batch);
            if (options.warm_up) own->warm_up(parameters_.on(devices_[r]));
          } catch (...) {
            failed[r] = std::current_exception();
            own.reset();
          }
          ready_.count_down();  // from here on `options` and `failed` may be gone
          if (own) serve(r, *own, parts);
        });
      ready_.wait();
      detail::rethrow_first(failed);
    } catch (...) {
      stop();
      throw;
    }
  }

  [[nodiscard]] static detail::thread_request wanted(std::size_t r) {
    return {"predictor", detail::thread_of(static_cast<int>(r) + 1, N), "use fewer replicas"};
  }

  /// Throws value_error in a forked child, where the replicas' threads do not exist.
  [[nodiscard]] detail::prediction_queue& queue() const {
    if (fork_.crossed())
      throw value_error("predictor", "a request in the process that made the predictor", "one in a forked child of it",
                        "threads do not survive fork(); make the predictor in the child");
    return *queue_;
  }

  void stop() noexcept {
    if (fork_.crossed()) {
      // The threads do not exist here, and destroying the queue would wait for those that sleep in it.
      static_cast<void>(queue_.release());
      for (auto& thread : threads_)
        if (thread.joinable()) thread.detach();
      return;
    }
    queue_->close();
    for (auto& thread : threads_)
      if (thread.joinable()) thread.join();
  }

  using replica = detail::predictor_replica<Model, Backend>;

  void serve(std::size_t r, replica& own, std::vector<detail::prediction_part>& parts) {
    const value_type* const parameters = parameters_.on(devices_[r]);
    while (queue_->take(parts)) {
      try {
        own.run(parameters, parts);
      } catch (...) {
        const auto original = std::current_exception();
        for (auto& part : parts) part.error = named(r, original);
      }
      queue_->finish(parts);
    }
  }

  /// Returns a replica_error with the original nested. Each caller gets its own, which it may change or release at any
  /// time.
  [[gnu::cold, gnu::noinline]] static std::exception_ptr named(std::size_t r, const std::exception_ptr& original) {
    errors all{};
    all[r] = original;
    try {
      detail::rethrow_first(all);
    } catch (...) {
      return std::current_exception();
    }
    return nullptr;
  }

  std::unique_ptr<detail::prediction_queue> queue_;  ///< synchronises itself
  detail::fork_guard fork_;
  std::vector<int> devices_;  ///< of each replica
  detail::predictor_parameters<Model, Backend> parameters_;
  std::latch ready_{N};  // counts the replicas that have been made
  std::array<std::thread, static_cast<std::size_t>(N)> threads_;
};

}  // namespace lockstep
