// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/core/with_divisor.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/ranks/bucket.hpp>
#include <lockstep/parallel/trainer/home.hpp>
#include <lockstep/parallel/trainer/placement.hpp>
#include <lockstep/parallel/trainer/replica.hpp>

namespace lockstep::detail {

/// The homes of N replicas that may lie on several devices: one home for all, one for each, or one for each group of
/// neighbours, all groups of one size, which `combine` their gradients before these travel. Between homes gradients
/// travel by the backend's collective. With Reproducible they are gathered and added as a tree, else summed in whatever
/// order the collective takes.
template <has_collective B, class Optimizer, std::size_t N, std::size_t Ranges, bool Reproducible>
class several_homes {
 public:
  using value = typename B::value_type;
  using context = typename B::context;
  using home_type = home<B, Optimizer, N, Ranges>;
  using buffers = std::array<const value*, N>;

  /// Throws value_error when `devices` is no valid placement.
  explicit several_homes(const std::vector<int>& devices)
      : devices_(placement<B>(devices, N)),
        members_(static_cast<std::size_t>(std::count(devices_.begin(), devices_.end(), devices_.front()))),
        size_(N / members_) {}

  /// On replica r's thread: makes its home, if r is the first replica there.
  void settle(std::size_t r, context& c, std::int64_t parameter_count, std::int64_t trainable_count) {
    if (leads(r)) homes_[home_of(r)].emplace(c, parameter_count, trainable_count, members_);
  }
  /// On replica r's thread, once all have settled. All replicas call it, and wait for each other in it.
  void join(std::size_t r, context& c) {
    if (size_ > 1 && leads(r)) across_.join(home_of(r), c, size_);
  }
  /// On replica r's thread, once all have joined. All replicas call it. Moves the replica's gradients, which nothing
  /// has used yet, to memory where they are summed fastest. With Reproducible they stay: they are sent to the memory of
  /// other replicas, and NCCL wants both ends of a transfer registered, or neither.
  void place_gradients(std::size_t r, context& c, typename B::template buffer<value>& gradients) {
    if (size_ == 1 || !leads(r)) return;
    const std::int64_t n = gradients.size();
    // `send` runs it between collectives, in which others wait for this replica.
    of(r).update.load_reduce(c);
    if constexpr (Reproducible) {
      across_.reserve_ordered(home_of(r), c, n);
    } else {
      gradients = {};  // first, so that there is room
      gradients = across_.allocate_shared(home_of(r), c, n);
    }
  }
  /// For replica r, once all have joined: allocates what its slice of the update needs.
  void attach(std::size_t r, context& c) {
    of(r).update.attach(slice(r), c);
    if (const std::size_t h = home_of(r); h > 0 && leads(r)) copies_[h - 1] = {homes_[h]->parameters.data(), &c};
  }

  [[nodiscard]] int device(std::size_t r) const { return devices_[r]; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] home_type& front() noexcept { return *homes_[0]; }
  [[nodiscard]] const home_type& front() const noexcept { return *homes_[0]; }
  /// The home that replica r works with, and its slice of it.
  [[nodiscard]] home_type& of(std::size_t r) { return *homes_[home_of(r)]; }
  [[nodiscard]] std::size_t slice(std::size_t r) const { return r % members_; }
  /// The copies of the parameters in all homes but the first.
  [[nodiscard]] std::span<const parameter_copy<B>> copies() const { return std::span(copies_).first(size_ - 1); }

  /// The same for the values at data_of(home).
  template <class DataOf>
  [[nodiscard]] std::vector<parameter_copy<B>> copies_of(const DataOf& data_of) {
    std::vector<parameter_copy<B>> all;
    for (std::size_t h = 1; h < size_; ++h) all.push_back({data_of(*homes_[h]), copies_[h - 1].context});
    return all;
  }

  /// Calls f(home) for each home, from one thread.
  template <class F>
  void each(const F& f) {
    for (std::size_t i = 0; i < size_; ++i) {
      [[maybe_unused]] const auto device = device_of<B>(*homes_[i]->front);
      f(*homes_[i]);
    }
  }

  /// Gives all homes the model's initial parameters and clears the optimizer's state, from one thread.
  template <class Model>
  void initialize(seed s) {
    initialize_homes<Model, B>(s, [&](const auto& f) { each(f); });
  }

  /// True when replicas wait for each other only inside a collective, so that each may record its whole step.
  [[nodiscard]] bool alone() const noexcept { return members_ == 1; }

  /// True when several replicas share each of several homes: then they `combine` before anything else.
  static constexpr bool may_mix = N > 3;
  [[nodiscard]] bool mixed() const noexcept { return may_mix && members_ > 1 && size_ > 1; }

  /// For replica r, after its backward: when `mixed`, leaves the sum of all replicas' gradients with the first replica
  /// of each home. meet(f) runs f and returns once all replicas have done so, true unless one has failed. Returns false
  /// when a meeting returned false.
  template <class Replicas, class Meet>
  bool combine(std::size_t r, const Replicas& replicas, const Meet& meet) {
    if constexpr (may_mix)
      if (mixed()) {
        auto& c = replicas[r]->context();
        auto& own = replicas[home_of(r) * members_]->gradients;
        buffers all{};
        for (std::size_t k = 0; k < N; ++k) all[k] = replicas[k]->gradients.data();
        return meet([&] { combine_at_home(r, c, all, own.data()); }) && meet([&] {
                 if (leads(r)) combine_homes(home_of(r), c, own.data(), own.size());
               });
      }
    return true;
  }

  /// True when the gradients of a pass travel in parts, by `send`: during its backward when the work is recorded, else
  /// after it.
  static constexpr bool may_send_parts = true;
  [[nodiscard]] bool sends_parts() const noexcept { return size_ > 1 && members_ == 1; }

  /// For replica r: sends a part of its gradients, to which nothing will be added, to the other homes, straight from
  /// `own`, or from the sums when the update reads the sums. With Reproducible, the gradients of a pass that is added
  /// to earlier ones travel alone and are added afterwards, in the same order as with one home.
  void send(std::size_t r, context& c, value* own, const bucket& part, bool to_sums, bool accumulate) {
    value* from = own;
    if (to_sums && !adds_behind(accumulate)) {
      auto& update = of(r).update;
      update.reduce(c, part.first, part.last, std::array<const value*, 1>{own}, accumulate);
      from = update.sums();
    }
    start_sum(home_of(r), c, part.size(), from + part.first);
  }

  /// For replica r: writes the sum of all replicas' gradients to its slice of the sums, or adds it there. With one home
  /// they lie in `all`. Gradients that are not `complete`, because more is to be added before anyone uses them, may
  /// stay in their home. Complete gradients that travel in parts have all been sent; from then on the buffers hold the
  /// sums of all homes.
  void reduce(std::size_t r, context& c, value* own, const buffers& all, std::int64_t size, bool accumulate,
              bool complete) {
    auto& update = of(r).update;
    if constexpr (may_mix)
      if (mixed()) return update.reduce(slice(r), c, combined(r, all), accumulate);
    if (size_ == 1) return update.reduce(r, c, all, accumulate);
    if (complete && !adds_behind(accumulate)) return across_.await_sums(r, c);
    if constexpr (Reproducible) {
      if (!complete) start_sum(r, c, size, own);
      across_.await_sums(r, c);
    }
    update.reduce(0, c, std::array<const value*, 1>{own}, accumulate);
  }

  /// The same in one pass with the update, for complete gradients: calls f with the buffers that add up to the sum of
  /// all replicas' gradients.
  template <class F>
  void with_sources(std::size_t r, context& c, value* own, const buffers& all, const F& f) {
    if constexpr (may_mix)
      if (mixed()) return f(combined(r, all));
    if (size_ == 1) return f(all);
    across_.await_sums(r, c);
    f(std::array<const value*, 1>{own});
  }

  /// The buffers that add up to the gradients of the last pass: those of all replicas, or the sums when `summed`. After
  /// passes that only accumulate the sums are not `complete`.
  [[nodiscard]] buffers visible(buffers all, bool summed, bool complete) const {
    if (mixed()) {
      std::fill(all.begin() + 1, all.end(), nullptr);
      if (summed) all[0] = homes_[0]->update.sums();
      return all;
    }
    if (!summed && size_ == 1) return all;
    const bool parts = summed && !complete && size_ > 1 && !Reproducible;
    // Zero from all but the first keeps the bits.
    for (std::size_t r = 0; r < N; ++r) all[r] = r > 0 && !parts ? nullptr : summed ? homes_[r]->update.sums() : all[r];
    return all;
  }

  /// Takes out the buffers that hold more than one replica's gradients. `accumulated`: the pass was added to others.
  void hide_combined(buffers& all, bool accumulated) const {
    if (mixed())
      for (std::size_t r = 0; r < N; r += members_) all[r] = nullptr;
    else if (size_ > 1 && adds_behind(accumulated))
      all.fill(nullptr);
  }

  /// Before a pass, when each replica has a home of its own: if one replica has to record its work anew, makes all do
  /// so, since a collective must be recorded by all or by none. The last pass, or an evaluation since, may have moved
  /// memory that a record points to.
  template <class Replicas>
  void level(const Replicas& replicas) {
    if (size_ == 1 || mixed()) return;
    const auto moves = [&] {
      std::uint64_t all = 0;
      for (const auto& replica : replicas) all += B::moves(replica->context());
      return all;
    };
    if (moves() == moves_) return;
    for (const auto& replica : replicas) B::forget(replica->context());
    moves_ = moves();
  }

  /// Drops what the replicas of several homes have recorded: a collective can end only when no record holds its work.
  template <class Replicas>
  void leave(const Replicas& replicas) noexcept {
    if (size_ == 1) return;
    for (const auto& replica : replicas) {
      try {
        if (replica) B::forget(replica->context());
      } catch (...) {  // the failure of earlier work, which the step of that work reports
      }
    }
  }

  /// Waits for replica r's work, in which its device may wait for others.
  void finish(std::size_t r, context& c) {
    if (size_ > 1)
      across_.finish(home_of(r), c);
    else
      B::finish(c);
  }
  /// After a replica has failed: makes the replicas fail that wait for it in a collective.
  void give_up() noexcept {
    if (size_ > 1) across_.abort();
  }

 private:
  [[nodiscard]] std::size_t home_of(std::size_t r) const noexcept { return r / members_; }
  /// Whether replica r is the first of its home.
  [[nodiscard]] bool leads(std::size_t r) const noexcept { return r % members_ == 0; }
  /// The combined gradients of all replicas, where replica r reads them.
  [[nodiscard]] std::array<const value*, 1> combined(std::size_t r, const buffers& all) const {
    return {all[home_of(r) * members_]};
  }

  /// Writes the sum of the gradients of replica r's home to replica r's slice of `own`, itself one of these buffers.
  void combine_at_home(std::size_t r, context& c, const buffers& all, value* own) {
    with_divisor<N>(members_, [&]<std::size_t Members>(std::integral_constant<std::size_t, Members>) {
      std::array<const value*, Members> at_home{};
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(home_of(r) * Members), Members, at_home.begin());
      of(r).update.sum_to(slice(r), c, at_home, own);
    });
  }

  /// Whether the gradients of a pass are summed over the homes before they are added to those of earlier passes.
  [[nodiscard]] static constexpr bool adds_behind(bool accumulate) noexcept { return Reproducible && accumulate; }

  void start_sum(std::size_t h, context& c, std::int64_t n, value* values) {
    if constexpr (Reproducible)
      across_.start_ordered_sum(h, c, n, values);
    else
      across_.start_sum(h, c, n, values);
  }

  /// For home h's first replica: replaces its values in `own` by their sum over all homes. When this fails, the
  /// replicas that would wait for it fail too.
  void combine_homes(std::size_t h, context& c, value* own, std::int64_t size) {
    try {
      start_sum(h, c, size, own);
      across_.await_sums(h, c);
    } catch (...) {
      give_up();
      throw;
    }
  }

  std::vector<int> devices_;
  std::size_t members_;  ///< replicas in each home
  std::size_t size_;
  std::uint64_t moves_ = 0;  ///< the sum of all contexts' moves when records were last leveled
  std::array<std::optional<home_type>, N> homes_;
  std::array<parameter_copy<B>, N - 1> copies_{};
  typename B::template collective<N> across_;
};

}  // namespace lockstep::detail
