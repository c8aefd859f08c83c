// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/backend/rule.hpp>
#include <lockstep/backend/update_terms.hpp>
#include <lockstep/model/element_range.hpp>
#include <lockstep/optim/matrix_rule.hpp>
#include <lockstep/optim/parameter_groups.hpp>
#include <lockstep/parallel/trainer/matrix_update.hpp>

namespace lockstep::detail {

/// What `gradient_update::apply` does to the sums before it uses them.
struct clipping {
  bool measured = false;     ///< scales them as `judge` found
  bool finite_only = false;  ///< changes nothing if their norm, which is measured then, is not finite
  double max_value = std::numeric_limits<double>::infinity();
};

/// Computes new parameters from the gradients of N replicas; every replica works on its own slice.
///
/// `fused` does this in one pass over gradients and parameters. When the norm of the sums is needed first, the order is
/// `reduce`, `measure`, a meeting of the replicas, `judge`, `apply`. On a device, where work may be recorded and run
/// again, `set_rule` brings the optimizer's options to the device before each step. `active` lists the elements that
/// the step may change, in at most `Ranges` ranges.
template <class B, class Optimizer, std::size_t N, std::size_t Ranges = 1>
class gradient_update {
 public:
  using value = typename B::value_type;
  using context = typename B::context;

  /// Whether the optimizer updates whole matrices. `fused` and `apply` then read the gradients, or sums, of any slice.
  static constexpr bool has_matrices = updates_matrices<Optimizer>;
  [[no_unique_address]] std::conditional_t<has_matrices, matrix_update<B, Optimizer, N>, no_matrix_update> matrices;

  /// For `size` elements in `slices` slices.
  explicit gradient_update(std::int64_t size, std::size_t slices = N) : size_(size), slices_(slices) {}

  /// Allocates what slice r needs in the memory of its replica's backend.
  void attach(std::size_t r, context& c) {
    terms_[r].emplace(c);
    if constexpr (!B::host_memory) rules_[r].emplace(c);
  }

  /// Checks the optimizer's options and allocates the state that they need and that is missing.
  void prepare(context& c, const Optimizer& optimizer) {
    optimizer.check_options();
    for (std::size_t s = 0; s < optimizer.states(); ++s) {
      if (states_.at(s).size() > 0) continue;
      states_.at(s) = B::template allocate<value>(c, size_);
    }
  }

  /// Allocates the buffers that `reduce` and `measure` write.
  void prepare_sums(context& c) {
    if (sums_.size() > 0) return;
    sums_ = B::template allocate<value>(c, size_);
    squares_ = B::template allocate<double>(c, blocks());
  }

  /// Calls f(buffer) for each buffer of optimizer state.
  template <class F>
  void each_state(const F& f) {
    for (auto& state : states_)
      if (state.size() > 0) f(state);
  }

  /// State number s of the optimizer; empty while it is not in use.
  [[nodiscard]] auto& state(std::size_t s) { return states_.at(s); }

  /// Clears the optimizer's state.
  void reset(context& c) {
    each_state([&](auto& state) { B::clear(c, state.size(), state.data()); });
  }

  /// Brings the optimizer's options to the device that updates slice r, for each range that the step may change.
  /// Returns a number that differs between types of rules; 0 on the host, where nothing is sent.
  std::uint64_t set_rule([[maybe_unused]] std::size_t r, [[maybe_unused]] context& c,
                         [[maybe_unused]] const Optimizer& optimizer,
                         [[maybe_unused]] const std::vector<element_range>& active) {
    std::uint64_t kind = 0;
    if constexpr (!B::host_memory) {
      rule_storage fresh{};
      for (std::size_t i = 0; i < active.size(); ++i)
        range_rule(optimizer, active[i], [&](auto, const auto& rule) {
          using rule_type = std::remove_cvref_t<decltype(rule)>;
          static_assert(sizeof(rule_type) <= sizeof(rule_bytes) && std::is_trivially_copyable_v<rule_type>,
                        "lockstep: optimizer: a rule is trivially copyable and at most 64 bytes large");
          kind = reinterpret_cast<std::uintptr_t>(&tag_of<rule_type>);
          std::construct_at(reinterpret_cast<rule_type*>(&fresh[i]), rule);
        });
      sent_rule& sent = sent_[r];
      if (sent.kind == kind && std::memcmp(&sent.rule, &fresh, sizeof(fresh)) == 0) return kind;  // the device has it
      sent.kind = 0;
      rules_[r]->host() = fresh;
      rules_[r]->send(c);
      sent = {.rule = fresh, .kind = kind};
    }
    return kind;
  }

  /// Updates slice r of the parameters with the sum of the gradients.
  template <std::size_t Sources>
  void fused(std::size_t r, context& c, const std::array<const value*, Sources>& gradients, value* parameters,
             const Optimizer& optimizer, const std::vector<element_range>& active) {
    update<Sources>(c, r, active, gradients, parameters, optimizer,
                    [&](const auto& rule, std::size_t range) { return as_read(rule, r, range); });
  }

  /// Writes the sum of the gradients to slice r of the sums, or adds it there.
  template <std::size_t Sources>
  void reduce(std::size_t r, context& c, const std::array<const value*, Sources>& gradients, bool accumulate) {
    reduce(c, edge(r), edge(r + 1), gradients, accumulate);
  }
  /// The same for the elements [first, last).
  template <std::size_t Sources>
  void reduce(context& c, std::int64_t first, std::int64_t last, const std::array<const value*, Sources>& gradients,
              bool accumulate) {
    const std::array<value*, 0> none{};
    if (accumulate)
      B::template reduce_and_update<Sources, 0>(c, first, last, gradients, sums_.data(), none, add_rule{});
    else
      B::template reduce_and_update<Sources, 0>(c, first, last, gradients, sums_.data(), none, assign_rule{});
  }

  /// Brings to the device what `reduce` from one source runs there, if its first use would do so.
  static void load_reduce([[maybe_unused]] context& c) {
    if constexpr (requires { B::template load_reduce_and_update<1, 0, add_rule>(c); }) {
      B::template load_reduce_and_update<1, 0, add_rule>(c);
      B::template load_reduce_and_update<1, 0, assign_rule>(c);
    }
  }

  /// Writes the sum of the gradients to slice r of `to`, which may be one of the gradient buffers.
  template <std::size_t Sources>
  void sum_to(std::size_t r, context& c, const std::array<const value*, Sources>& gradients, value* to) const {
    B::template reduce_and_update<Sources, 0>(c, edge(r), edge(r + 1), gradients, to, std::array<value*, 0>{},
                                              assign_rule{});
  }

  /// Computes the sums of squares of slice r of the sums, block by block.
  void measure(std::size_t r, context& c) {
    const std::int64_t first = edge(r);
    const std::int64_t count = edge(r + 1) - first;
    if (count > 0) B::square_sums(c, count, block, sums_.data() + first, squares_.data() + first / block);
  }

  /// Computes the norm of all sums, and the scale and verdict that follow from it, once every slice has been measured.
  /// Gives the same bits on every replica, however many there are.
  void judge(std::size_t r, context& c, double max_norm) {
    B::gradient_norm(c, blocks(), squares_.data(), max_norm, terms_[r]->get());
    terms_[r]->fetch(c);
  }
  /// The result of `judge`, once its work is done.
  [[nodiscard]] const update_terms& terms(std::size_t r) { return terms_[r]->host(); }

  /// Updates slice r of the parameters with the sums.
  void apply(std::size_t r, context& c, value* parameters, const Optimizer& optimizer,
             const std::vector<element_range>& active, const clipping& how) {
    const auto run = [&](const auto& adapt) { update<1>(c, r, active, {sums_.data()}, parameters, optimizer, adapt); };
    const bool limited = how.max_value < (std::numeric_limits<value>::max)();
    const value limit = limited ? static_cast<value>(how.max_value) : std::numeric_limits<value>::infinity();
    if constexpr (B::host_memory) {
      if (how.finite_only && terms(r).finite == 0) return;
      // A factor of 1 and no limit change no bit: a kernel for gradients as they are would only be more to compile.
      const value factor = how.measured ? static_cast<value>(terms(r).scale) : value{1};
      run([&](const auto& rule, std::size_t) {
        return scaled_rule<std::remove_cvref_t<decltype(rule)>, value, false>{
            .rule = rule, .factor = factor, .limit = limit};
      });
    } else {
      if (!how.measured && !limited)
        return run([&](const auto& rule, std::size_t range) { return as_read(rule, r, range); });
      const update_terms* const found = how.measured ? terms_[r]->get() : nullptr;
      if (how.finite_only)
        run([&](const auto& rule, std::size_t range) { return stored_scaled<true>(rule, r, range, found, limit); });
      else
        run([&](const auto& rule, std::size_t range) { return stored_scaled<false>(rule, r, range, found, limit); });
    }
  }

  [[nodiscard]] const value* sums() const noexcept { return sums_.data(); }
  [[nodiscard]] value* sums() noexcept { return sums_.data(); }

 private:
  /// Calls with(number of states, rule) of the optimizer for a range.
  template <class With>
  static void range_rule(const Optimizer& optimizer, const element_range& range, const With& with) {
    group_rule<value>(optimizer, range.state_steps, range.rate, range.decay, with);
  }

  /// Elements of one partial sum of squares. Slices are cut at its multiples, so that their number changes no sum, and
  /// does not move an element between a loop's vectors and its rest, which a compiler may round differently (by
  /// contracting a product and a sum in one of them only). It is a multiple of a cache line, so that no two replicas
  /// write to the same line.
  static constexpr std::int64_t block = 4096;

  /// Room for the rule of any optimizer.
  struct alignas(16) rule_bytes {
    std::array<std::byte, 64> bytes;
  };
  using rule_storage = std::array<rule_bytes, Ranges>;
  template <class Rule>
  static constexpr char tag_of = 0;
  struct sent_rule {
    rule_storage rule{};
    std::uint64_t kind = 0;  ///< none
  };

  [[nodiscard]] std::int64_t blocks() const { return (size_ + block - 1) / block; }
  [[nodiscard]] std::int64_t edge(std::size_t k) const {
    if (k == slices_) return size_;
    return size_ * static_cast<std::int64_t>(k) / static_cast<std::int64_t>(slices_) / block * block;
  }

  template <class Rule>
  [[nodiscard]] const Rule* stored(std::size_t r, std::size_t range) {
    return reinterpret_cast<const Rule*>(rules_[r]->get()->data() + range);
  }
  /// The rule itself on the host; on a device, where it lies there.
  template <class Rule>
  [[nodiscard]] auto as_read(const Rule& rule, [[maybe_unused]] std::size_t r, [[maybe_unused]] std::size_t range) {
    if constexpr (B::host_memory)
      return rule;
    else
      return stored_rule<Rule>{stored<Rule>(r, range)};
  }
  template <bool MaySkip, class Rule>
  [[nodiscard]] auto stored_scaled(const Rule&, std::size_t r, std::size_t range, const update_terms* found,
                                   value limit) {
    return stored_scaled_rule<Rule, value, MaySkip>{.rule = stored<Rule>(r, range), .terms = found, .limit = limit};
  }

  /// Updates the active elements of slice r by `adapt(rule, range)`, with the optimizer's rule for each range; and the
  /// matrices that are replica r's.
  template <std::size_t Sources, class Adapt>
  void update(context& c, std::size_t r, const std::vector<element_range>& active,
              const std::array<const value*, Sources>& gradients, value* parameters, const Optimizer& optimizer,
              const Adapt& adapt) {
    each_part(active, edge(r), edge(r + 1), [&](std::int64_t first, std::int64_t last, std::size_t range) {
      if (has_matrices && active[range].matrix >= 0) return;
      range_rule(optimizer, active[range],
                 [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
                   const auto states = [&]<std::size_t... S>(std::index_sequence<S...>) {
                     return std::array<value*, States>{states_[S].data()...};
                   }(std::make_index_sequence<States>{});
                   B::template reduce_and_update<Sources, States>(c, first, last, gradients, parameters, states,
                                                                  adapt(rule, range));
                 });
    });
    if constexpr (has_matrices) {
      std::array<value*, Optimizer::max_states> states{};
      for (std::size_t s = 0; s < states.size(); ++s) states[s] = states_[s].data();
      for (std::size_t i = 0; i < active.size(); ++i)
        if (active[i].matrix >= 0)
          matrices.run(r, c, active[i], gradients, parameters, states, optimizer,
                       [&](const auto& rule) { return adapt(rule, i); });
    }
  }

  std::int64_t size_;
  std::size_t slices_;
  std::array<typename B::template buffer<value>, Optimizer::max_states> states_;
  typename B::template buffer<value> sums_;
  typename B::template buffer<double> squares_;
  std::array<std::optional<typename B::template mirrored<update_terms>>, N> terms_;
  std::array<std::optional<typename B::template mirrored<rule_storage>>, B::host_memory ? 0 : N> rules_;
  std::array<sent_rule, B::host_memory ? 0 : N> sent_;  ///< the rules that the device has
};

}  // namespace lockstep::detail
