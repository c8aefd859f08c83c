// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/error.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/model/element_range.hpp>
#include <lockstep/model/parameter_matrix.hpp>
#include <lockstep/model/segments.hpp>
#include <lockstep/parallel/ranks/batch_terms.hpp>
#include <lockstep/parallel/ranks/bucket.hpp>
#include <lockstep/parallel/ranks/bucket_clock.hpp>
#include <lockstep/parallel/ranks/bucket_schedule.hpp>
#include <lockstep/parallel/ranks/bucket_thread.hpp>
#include <lockstep/parallel/ranks/bucket_walk.hpp>
#include <lockstep/parallel/ranks/rank_parts.hpp>

namespace lockstep::detail {

/// A trainer's link to the other ranks. It agrees with them on a batch, and its own thread reduces buckets of gradients
/// over the communicator while the replicas run backward. All ranks make the same calls. A rank that fails in a step
/// goes on communicating until the step's end, so that the others learn of the failure and none waits in vain.
///
/// The agreement on a batch carries `Layers` flags, which tell the layers that a rank uses.
template <class Model, class B, int N, class Communicator, class Hook, class Sizes, std::size_t Layers>
class rank_link {
  static_assert(B::host_memory,
                "lockstep: data_parallel: communicators reduce memory of the host; use the cpu backend");
  using value = typename B::value_type;
  static constexpr const auto& plan = Model::template plan<B>;
  static constexpr std::size_t losses_count = Model::loss_count;
  using losses_type = std::array<double, losses_count>;

 public:
  static constexpr const auto& buckets = bucket_walk<Model, B, Sizes>::buckets;
  static constexpr std::size_t bucket_count = bucket_walk<Model, B, Sizes>::count;
  using parts = rank_parts<Model, B, Sizes>;

  /// Compares the model with the other ranks'. Throws communicator_error when they differ.
  rank_link(Communicator&& communicator, Hook&& hook)
      : communicator_(std::move(communicator)),
        hook_(std::move(hook)),
        context_(replica_place{}),
        slots_(header + (1 + losses_count) * static_cast<std::size_t>(communicator_.size()) + Layers) {
    check_models();
    bucket_schedule each(bucket_count);
    std::iota(each.begin(), each.end(), 0);
    set_schedule(each);
  }

  /// Makes one exchange over all ranks before a batch. Throws communicator_error when another rank refuses its batch,
  /// unless this rank does too, when some ranks step while others accumulate, and when they name different
  /// denominators; then no rank may go on with the batch. Nor may any when `spoiler` is set. `uses` tells for each
  /// layer whether this rank uses it, 1 or 0; afterwards it holds how many ranks use the layer.
  batch_terms<losses_count> agree(const rank_words<losses_count>& own, std::span<double, Layers> uses) {
    std::fill(slots_.begin(), slots_.end(), 0.0);
    std::copy(own.denominators.begin(), own.denominators.end(), slots_.begin());
    slots_[losses_count + static_cast<std::size_t>(own.call)] = 1;
    const auto here = static_cast<std::size_t>(communicator_.rank());
    samples_of(here) = own.failed_to_accumulate ? failed_to_accumulate
                       : own.refused            ? refused
                       : own.cannot_step        ? cannot_step
                                                : static_cast<double>(own.samples);
    for (std::size_t k = 0; k < losses_count; ++k)
      given_of(here)[k] = own.call == rank_call::join ? any : own.given.value_or(losses_type{})[k];
    const std::span<double> sent = std::span(slots_).last(Layers);
    std::copy(uses.begin(), uses.end(), sent.begin());
    communicator_.all_reduce(std::span<double>(slots_));
    std::copy(sent.begin(), sent.end(), uses.begin());
    const auto ranks = static_cast<std::size_t>(communicator_.size());
    for (std::size_t rank = 0; rank < ranks; ++rank)
      if (samples_of(rank) == failed_to_accumulate) return {.spoiler = static_cast<int>(rank)};
    batch_terms<losses_count> terms;
    std::copy_n(slots_.begin(), losses_count, terms.denominators.begin());
    const auto callers = [&](rank_call c) {
      return static_cast<int>(slots_[losses_count + static_cast<std::size_t>(c)]);
    };
    terms.all_joined = callers(rank_call::join) == communicator_.size();
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      double theirs = samples_of(rank);
      if (theirs == cannot_step) theirs = terms.all_joined ? 0 : refused;
      if (theirs == refused && !own.refused && !(own.cannot_step && !terms.all_joined))
        throw communicator_error("data_parallel", "a batch that every rank accepts",
                                 "rank " + std::to_string(rank) + " refused its own", "see that rank's exception");
      if (rank < here) terms.first_sample += static_cast<std::int64_t>(theirs);
      terms.samples += static_cast<std::int64_t>(theirs);
    }
    if (!own.refused && callers(rank_call::step) > 0 && callers(rank_call::accumulate) > 0)
      throw communicator_error("data_parallel", "ranks that all step or all accumulate",
                               std::to_string(callers(rank_call::step)) + " that step and " +
                                   std::to_string(callers(rank_call::accumulate)) + " that accumulate");
    if (!own.refused) check_given();
    terms.steps = callers(rank_call::step) > 0;
    return terms;
  }

  /// Opens the communication of a step: the communication thread calls job(p) for every part p of `parts`, each time
  /// when all replicas have arrived there.
  template <class Job>
  void start(Job& job) {
    thread_.start(job);
  }

  /// Tells that a replica has nothing more to add to part p.
  void arrive(std::size_t p) noexcept { thread_.arrive(p); }

  /// Waits until part p has been communicated. False when it will not be.
  [[nodiscard]] bool await(std::size_t p) noexcept { return thread_.await(p); }

  /// In the communication thread: sums numbers over the ranks.
  void all_reduce(std::span<double> numbers) {
    guarded([&] { communicator_.all_reduce(numbers); });
  }

  /// In the communication thread: sums bucket b over the replicas with `update`.
  template <class Update>
  void sum(std::size_t b, Update& update, const std::array<const value*, static_cast<std::size_t>(N)>& gradients,
           bool accumulate) {
    const bucket& range = buckets.buckets[b];
    update.reduce(context_, range.first, range.last, gradients, accumulate);
  }

  /// In the communication thread, after `sum`, for all buckets in order: when bucket b is the last of its message, sums
  /// that message over the ranks, in place in `sums`. A failed step sends zeros, which harm no state that a hook keeps.
  void send(std::size_t b, value* sums, bool failed, const std::vector<element_range>& active) {
    const bucket& range = buckets.buckets[b];
    if (failed) std::fill(sums + range.first, sums + range.last, value{0});
    const message& now = messages_[message_of_[b]];
    if (now.last_bucket != b) return;  // its message waits for further buckets
    bool wanted = false;
    each_part(active, now.first, now.last, [&](std::int64_t, std::int64_t, std::size_t) { wanted = true; });
    if (!wanted) return;  // no rank has used any layer of it
    guarded([&] {
      hook_(communicator_, bucket_view{.index = static_cast<int>(message_of_[b]),
                                       .gradients = {sums + now.first, static_cast<std::size_t>(now.last - now.first)},
                                       .tensors = now.tensors});
    });
  }

  /// Throws value_error while the hook keeps state that belongs to the current messages.
  void check_may_reschedule() const {
    if constexpr (stateful_hook<Hook>)
      if (hook_.has_state())
        throw value_error("data_parallel::set_bucket_schedule", "a hook without state of the present messages",
                          "one that has reduced gradients", "call hook().reset() on every rank before");
  }

  /// Makes later steps send the buckets in these messages. Throws value_error, and changes nothing, when `schedule` is
  /// no schedule or while the hook keeps state of the current messages.
  void set_schedule(const bucket_schedule& schedule) {
    check_schedule(schedule, bucket_count);
    check_may_reschedule();
    std::vector<message> messages;
    auto message_of = message_of_;
    std::size_t bucket_at = 0;
    for (const int last : schedule) {
      message next{.first = buckets.buckets[static_cast<std::size_t>(last)].first,
                   .last = buckets.buckets[bucket_at].last,
                   .last_bucket = static_cast<std::size_t>(last),
                   .tensors = {}};
      for (; bucket_at <= next.last_bucket; ++bucket_at) message_of[bucket_at] = messages.size();
      for (std::size_t p = 0; p < static_cast<std::size_t>(plan.parameter_tensors); ++p) {
        const plan_parameter& parameter = plan.parameters[p];
        if (parameter.offset < next.first || parameter.offset >= next.last) continue;
        const auto [rows, columns] = parameter_matrices<Model, B>[p];
        next.tensors.push_back({.offset = parameter.offset - next.first, .rows = rows, .columns = columns});
      }
      std::sort(next.tensors.begin(), next.tensors.end(),
                [](const bucket_tensor& a, const bucket_tensor& b) { return a.offset < b.offset; });
      messages.push_back(std::move(next));
    }
    messages_ = std::move(messages);
    message_of_ = message_of;
  }

  /// Called when a replica has run the last backward of `node` in a pass that does not reduce. While `calibrate`
  /// measures, notes when the node's bucket was ready.
  void note(int node) noexcept { clock_.note(buckets.ready[static_cast<std::size_t>(node)]); }

  /// Measures the link and three passes, each made by run_pass() without reducing, and sets the schedule whose last
  /// message arrives first. All ranks call it and get the same schedule, or an exception when a pass fails on any.
  template <class RunPass>
  bucket_schedule calibrate(const RunPass& run_pass) {
    constexpr std::int64_t most = std::int64_t{1} << 20U;
    const auto large = static_cast<std::size_t>(std::clamp<std::int64_t>(buckets.buckets[0].last, 2, most));
    std::array<double, bucket_count> ready;
    ready.fill(std::numeric_limits<double>::infinity());
    std::vector<float> scratch;
    std::exception_ptr failure;
    std::array<double, 1> failed{};
    for (int i = 0; i < 3 && failed[0] == 0; ++i) {
      try {
        scratch.resize(large);
        clock_.start();
        run_pass();
        clock_.take_least(ready);
      } catch (...) {
        failure = std::current_exception();
      }
      clock_.stop();
      // A pass may exchange statistics: all ranks make the next one, or none does.
      failed[0] = failure ? 1.0 : 0.0;
      communicator_.all_reduce(std::span<double>(failed));
    }
    if (failure) std::rethrow_exception(failure);
    if (failed[0] > 0)
      throw communicator_error("data_parallel::calibrate_buckets", "every rank to finish its passes",
                               std::to_string(static_cast<int>(failed[0])) + " that failed",
                               "see the exception of that rank");
    const double one = seconds_to_reduce(communicator_, std::span(scratch).first(1));
    const double all = seconds_to_reduce(communicator_, std::span(scratch));
    std::vector<double> mean{one, (std::max)(0.0, all - one) / (static_cast<double>(large - 1) * sizeof(float))};
    mean.insert(mean.end(), ready.begin(), ready.end());
    communicator_.all_reduce(std::span<double>(mean));
    for (double& each : mean) each /= communicator_.size();
    for (std::size_t b = 3; b < mean.size(); ++b) mean[b] = (std::max)(mean[b], mean[b - 1]);
    std::array<std::int64_t, bucket_count> bytes{};
    for (std::size_t b = 0; b < bucket_count; ++b)
      bytes[b] = buckets.buckets[b].size() * static_cast<std::int64_t>(sizeof(value));
    auto schedule = schedule_buckets(std::span<const double>(mean).subspan(2), bytes,
                                     {.latency = mean[0], .seconds_per_byte = mean[1]});
    set_schedule(schedule);
    return schedule;
  }

  /// In the communication thread, after the buckets: sums the losses over the ranks and counts the ranks that have
  /// failed.
  void close(const losses_type& losses, bool failed) {
    std::copy(losses.begin(), losses.end(), tail_.begin());
    tail_[losses_count] = failed ? 1.0 : 0.0;
    all_reduce(tail_);
  }

  /// Returns when the communication of the step is over.
  void wait() noexcept { thread_.wait(); }

  /// What the communication thread threw, or null.
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return thread_.error(); }

  /// True when the buckets hold the sums over all ranks and no rank has failed.
  [[nodiscard]] bool succeeded() const noexcept { return !thread_.error() && tail_[losses_count] == 0; }

  /// After a step in which this rank has not failed: throws what the communication thread threw, or communicator_error
  /// when other ranks have failed.
  void rethrow() const {
    if (thread_.error()) std::rethrow_exception(thread_.error());
    if (tail_[losses_count] > 0)
      throw communicator_error("data_parallel::step", "every rank to finish its part of the step",
                               std::to_string(static_cast<int>(tail_[losses_count])) + " that failed",
                               "parameters are as before; see the exception of that rank");
  }

  /// After a step: a hook with state keeps the state of this step when the step succeeded, else returns to the state
  /// before it.
  void settle_hook() {
    if constexpr (stateful_hook<Hook>) {
      if (succeeded())
        hook_.commit();
      else
        hook_.rollback();
    }
  }

  /// The part of the step whose turn it is.
  [[nodiscard]] rank_part position() const noexcept { return parts::all[thread_.position()]; }
  /// The sum of each loss over the ranks.
  [[nodiscard]] losses_type losses() const noexcept {
    losses_type sums{};
    std::copy_n(tail_.begin(), losses_count, sums.begin());
    return sums;
  }
  [[nodiscard]] Communicator& communicator() noexcept { return communicator_; }
  [[nodiscard]] const Communicator& communicator() const noexcept { return communicator_; }
  [[nodiscard]] Hook& hook() noexcept { return hook_; }

 private:
  // A message of `agree`: the denominators and a count for each rank_call; the samples of each rank; the denominators
  // that each names, 0 for none; and the layers.
  static constexpr std::size_t header = losses_count + 3;
  static constexpr double refused = -1, failed_to_accumulate = -2, cannot_step = -3;  ///< in place of a rank's samples
  static constexpr double any = -1;  ///< in the place of the denominator it names

  [[nodiscard]] double& samples_of(std::size_t rank) { return slots_[header + rank]; }
  [[nodiscard]] double* given_of(std::size_t rank) {
    return slots_.data() + header + static_cast<std::size_t>(communicator_.size()) + rank * losses_count;
  }

  /// Throws communicator_error, on all ranks alike, when two of them name different denominators.
  void check_given() {
    std::size_t first = 0;
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator_.size()); ++rank) {
      if (*given_of(rank) == any) continue;
      if (*given_of(first) == any) first = rank;
      std::size_t k = 0;
      while (k < losses_count && given_of(rank)[k] == given_of(first)[k]) ++k;
      if (k == losses_count) continue;
      const auto named = [&](std::size_t r) {
        return "rank " + std::to_string(r) + " names " + (given_of(r)[k] > 0 ? std::to_string(given_of(r)[k]) : "none");
      };
      throw communicator_error("data_parallel", "the same denominator on every rank", named(first) + ", " + named(rank),
                               "it is that of the whole batch, of all ranks together; or leave it out on every rank");
    }
  }

  /// Consecutive buckets that travel together.
  struct message {
    std::int64_t first = 0, last = 0;  ///< elements of the flat gradients
    std::size_t last_bucket = 0;
    std::vector<bucket_tensor> tensors;
  };

  /// Runs f. When f throws, the other ranks would wait for this one: closes the communicator, where it can be closed. A
  /// communicator_error is no exception to that, since a hook may throw it on one rank alone.
  template <class F>
  void guarded(const F& f) {
    try {
      f();
    } catch (const std::exception& e) {
      abort(e.what());
      throw;
    } catch (...) {
      abort("an exception that is no std::exception");
      throw;
    }
  }

  void abort(const char* reason) {
    if constexpr (requires { communicator_.abort(reason); }) communicator_.abort(reason);
  }

  void check_models() {
    std::array<double, 9> own{static_cast<double>(plan.parameter_count),
                              static_cast<double>(plan.trainable_count),
                              static_cast<double>(plan.parameter_tensors),
                              static_cast<double>(plan.training_flops % (std::int64_t{1} << 40U)),
                              static_cast<double>(bucket_count),
                              static_cast<double>(losses_count),
                              static_cast<double>(plan.segments),
                              static_cast<double>(plan.measured_channels),
                              static_cast<double>(exchanged_channels<Model, B>())};
    std::array<double, 9> sums = own;
    communicator_.all_reduce(std::span<double>(sums));
    // Small integers: their sums are exact.
    const bool same = std::equal(own.begin(), own.end(), sums.begin(),
                                 [&](double one, double sum) { return sum == one * communicator_.size(); });
    // Ranks whose numbers equal the mean would not notice; a second exchange tells them.
    std::array<double, 1> differing{same ? 0.0 : 1.0};
    communicator_.all_reduce(std::span<double>(differing));
    if (differing[0] > 0)
      throw communicator_error("data_parallel", "the same model and buckets on every rank",
                               "rank " + std::to_string(communicator_.rank()) + " with " +
                                   std::to_string(plan.parameter_count) + " parameters, " +
                                   std::to_string(plan.trainable_count) + " of them trainable, in " +
                                   std::to_string(bucket_count) + " buckets, others with something else");
  }

  Communicator communicator_;
  Hook hook_;
  typename B::context context_;
  std::vector<double> slots_;
  std::array<double, losses_count + 1> tail_{};  ///< the losses, and the ranks that have failed
  std::vector<message> messages_;
  std::array<std::size_t, bucket_count> message_of_{};
  bucket_clock<bucket_count> clock_;
  bucket_thread<parts::count, N> thread_;  // last: it uses all of the above
};

/// A trainer without other ranks.
struct no_ranks {};

}  // namespace lockstep::detail
