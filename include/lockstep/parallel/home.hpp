// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/parallel/bucket.hpp>
#include <lockstep/parallel/gradient_update.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/replica.hpp>

namespace lockstep::detail {

/// What replicas that share memory have in common: one copy of the parameters, of the optimizer's state and of the sums
/// of gradients. On a host all replicas have one home; on GPUs each device is one.
template <class B, class Optimizer, std::size_t N>
struct home {
  using value = typename B::value_type;
  using context = typename B::context;

  /// For `slices` replicas, of which `c` is the first one's.
  home(context& c, std::int64_t parameter_count, std::int64_t trainable_count, std::size_t slices)
      : front(&c), parameters(B::template allocate<value>(c, parameter_count)), update(trainable_count, slices) {}

  context* front;  ///< through which the host reaches it
  typename B::template buffer<value> parameters;
  gradient_update<B, Optimizer, N> update;
};

/// A backend whose replicas can reduce from home to home, by `collective<N>`: `join(r, c)` on every replica's thread,
/// then among what each replica enqueues `start_sum(r, c, n, values)`, a sum in place beside which the context goes on
/// until `await_sums(r, c)`, and `all_gather(r, c, n, own)`, which returns where those of all replicas will lie.
/// `finish(r, c)` is the backend's, but it throws when a replica has failed and `abort()` was called, after which
/// nothing works. `moves(c)` of such a backend changes whenever what a context has recorded is of no use any more.
template <class B>
concept has_collective = requires { typename B::template collective<2>; };

/// Stands where all replicas have one home.
struct no_collective {};
template <class B, std::size_t N>
struct collective_of {
  using type = no_collective;
};
template <has_collective B, std::size_t N>
struct collective_of<B, N> {
  using type = typename B::template collective<N>;
};

/// Devices of N replicas as the options name them: none or one for all, or N different ones. Throws value_error.
template <class B>
[[nodiscard]] std::vector<int> placement(const std::vector<int>& devices, std::size_t replicas) {
  std::vector<int> all = devices.empty() ? std::vector<int>{0} : devices;
  if (all.size() == 1) all.resize(replicas, all[0]);
  const auto refuse = [&](const char* got) {
    throw value_error("data_parallel",
                      "one device for all replicas, or a different one for each of the " + std::to_string(replicas),
                      got);
  };
  if (all.size() != replicas) refuse("another number of devices");
  bool same = true, different = true;
  for (std::size_t r = 0; r < replicas; ++r)
    for (std::size_t k = 0; k < r; ++k) {
      same = same && all[r] == all[k];
      different = different && all[r] != all[k];
    }
  if (!same && !different) refuse("some devices twice");
  if (!same && !has_collective<B>)
    throw value_error("data_parallel", "one device for all replicas", "several",
                      "this build reduces within one device only; for more, build with NCCL");
  return all;
}

/// The homes of N replicas: one for all, or one for each, between which gradients travel by the backend's collective.
/// With Reproducible they are gathered and added as a tree, else summed in whatever order the collective takes.
template <class B, class Optimizer, std::size_t N, bool Reproducible>
class home_group {
 public:
  using value = typename B::value_type;
  using context = typename B::context;
  using home_type = home<B, Optimizer, N>;
  using buffers = std::array<const value*, N>;

  /// Throws value_error for devices that are no placement.
  explicit home_group(const std::vector<int>& devices)
      : devices_(placement<B>(devices, N)), size_(devices_.front() == devices_.back() ? 1 : N) {}

  /// On replica r's thread, together with all others: makes its home, if it has one of its own.
  void join(std::size_t r, context& c, std::int64_t parameter_count, std::int64_t trainable_count) {
    if (r < size_) homes_[r].emplace(c, parameter_count, trainable_count, N / size_);
    if constexpr (has_collective<B>)
      if (size_ > 1) across_.join(r, c);
  }
  /// Replica r, once all have joined.
  void attach(std::size_t r, context& c) {
    of(r).update.attach(slice(r), c);
    if (r > 0 && r < size_) copies_[r - 1] = {homes_[r]->parameters.data(), &c};
  }

  [[nodiscard]] int device(std::size_t r) const { return devices_[r]; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] home_type& front() noexcept { return *homes_[0]; }
  [[nodiscard]] const home_type& front() const noexcept { return *homes_[0]; }
  /// The memory that replica r works with, and its slice of it.
  [[nodiscard]] home_type& of(std::size_t r) { return *homes_[size_ == 1 ? 0 : r]; }
  [[nodiscard]] std::size_t slice(std::size_t r) const { return size_ == 1 ? r : 0; }
  /// The parameters in all homes but the first.
  [[nodiscard]] std::span<const parameter_copy<B>> copies() const { return std::span(copies_).first(size_ - 1); }

  /// Calls f(home) for each, from one thread.
  template <class F>
  void each(const F& f) {
    for (std::size_t i = 0; i < size_; ++i) {
      [[maybe_unused]] const auto device = device_of<B>(*homes_[i]->front);
      f(*homes_[i]);
    }
  }

  /// Gives all homes the model's initial parameters, and clears the optimizer's state. From one thread.
  template <class Model>
  void initialize(seed s) {
    [[maybe_unused]] aligned_buffer<value> fresh(B::host_memory ? 0 : Model::template plan<B>.parameter_count);
    each([&](home_type& home) {
      if constexpr (B::host_memory) {
        initialize_parameters<Model, B>(home.parameters.data(), s);
      } else {
        if (&home == &front()) initialize_parameters<Model, B>(fresh.data(), s);
        B::template copy_in<value>(*home.front, fresh.size(), fresh.data(), home.parameters.data());
      }
      home.update.reset(*home.front);
      B::finish(*home.front);
    });
  }

  /// True when no replica waits for another but inside a collective, so that its whole step may be recorded.
  [[nodiscard]] bool alone() const noexcept { return !B::host_memory && (N == 1 || size_ > 1); }

  /// True when the gradients of a pass travel in parts, by `send`, while its backward goes on. A tree over all of a
  /// replica's gradients has to wait for them.
  static constexpr bool may_send_parts = has_collective<B> && !Reproducible;
  [[nodiscard]] bool sends_parts() const noexcept { return may_send_parts && size_ > 1; }

  /// Replica r: a part of its gradients, to which nothing will be added, leaves for the other homes: straight from
  /// `own`, or from the sums when the update reads these.
  void send(std::size_t r, context& c, value* own, const bucket& part, bool to_sums, bool accumulate) {
    if constexpr (has_collective<B>) {
      value* from = own;
      if (to_sums) {
        auto& update = of(r).update;
        update.reduce(c, part.first, part.last, std::array<const value*, 1>{own}, accumulate);
        from = update.sums();
      }
      across_.start_sum(r, c, part.size(), from + part.first);
    }
  }

  /// Replica r: brings the gradients of all, which lie in `all` where they have one home, to its slice of the sums, or
  /// adds them. When they are not `complete`, because more is to be added before anyone uses them, they may stay at
  /// home; when they are, and travel in parts, all parts have been sent.
  void reduce(std::size_t r, context& c, value* own, const buffers& all, std::int64_t size, bool accumulate,
              bool complete) {
    auto& update = of(r).update;
    if constexpr (has_collective<B>)
      if (size_ > 1) {
        if constexpr (Reproducible) return update.reduce(0, c, across_.all_gather(r, c, size, own), accumulate);
        if (complete) return across_.await_sums(r, c);
        return update.reduce(0, c, std::array<const value*, 1>{own}, accumulate);
      }
    update.reduce(r, c, all, accumulate);
  }

  /// The same in one pass with the update, for complete gradients: calls f with what adds up to the sum of all
  /// replicas'.
  template <class F>
  void with_sources(std::size_t r, context& c, value* own, const buffers& all, std::int64_t size, const F& f) {
    if constexpr (has_collective<B>)
      if (size_ > 1) {
        if constexpr (Reproducible) return f(across_.all_gather(r, c, size, own));
        across_.await_sums(r, c);
        return f(std::array<const value*, 1>{own});
      }
    f(all);
  }

  /// What a user adds up to see the gradients of the last pass: those of all replicas; their sums, when `summed`, which
  /// are not yet `complete` after passes that only accumulate.
  [[nodiscard]] buffers visible(buffers all, bool summed, bool complete) const {
    if (!summed && (size_ == 1 || Reproducible)) return all;
    const bool parts = summed && !complete && size_ > 1 && !Reproducible;
    // Zero from all but the first keeps the bits.
    for (std::size_t r = 0; r < N; ++r) all[r] = r > 0 && !parts ? nullptr : summed ? homes_[r]->update.sums() : all[r];
    return all;
  }

  /// After a pass of replicas that have homes of their own: when one has to record its work anew, all do, since a
  /// collective may be recorded by all or by none.
  template <class Replicas>
  void level(const Replicas& replicas) {
    if constexpr (has_collective<B>) {
      if (size_ == 1) return;
      const auto moves = [&] {
        std::uint64_t all = 0;
        for (const auto& replica : replicas) all += B::moves(replica->context());
        return all;
      };
      if (moves() == moves_) return;
      for (const auto& replica : replicas) B::forget(replica->context());
      moves_ = moves();
    }
  }

  /// Drops what replicas that have homes of their own have recorded: a collective that is to end must not be part of a
  /// recording any more.
  template <class Replicas>
  void leave(const Replicas& replicas) noexcept {
    if constexpr (has_collective<B>)
      if (size_ > 1)
        for (const auto& replica : replicas) {
          try {
            if (replica) B::forget(replica->context());
          } catch (...) {  // of work that failed, which its own step tells
          }
        }
  }

  /// Waits for replica r's work, in which it may wait for others.
  void finish(std::size_t r, context& c) {
    if constexpr (has_collective<B>)
      if (size_ > 1) return across_.finish(r, c);
    B::finish(c);
  }
  /// A replica has failed, and others may wait for it in a collective: they fail too.
  void give_up() noexcept {
    if constexpr (has_collective<B>)
      if (size_ > 1) across_.abort();
  }

 private:
  std::vector<int> devices_;
  std::size_t size_;
  std::uint64_t moves_ = 0;  ///< of all contexts
  std::array<std::optional<home_type>, N> homes_;
  std::array<parameter_copy<B>, N - 1> copies_{};
  [[no_unique_address]] typename collective_of<B, N>::type across_;
};

}  // namespace lockstep::detail
