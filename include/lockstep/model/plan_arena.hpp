// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/model/arena_range.hpp>
#include <lockstep/model/network_plan.hpp>

namespace lockstep::detail {

/// Decides which values share memory, and places outputs and gradients in the arena, or in the memory kept for the
/// shard when they live from one segment to another. With n nodes, node i runs forward at time i and backward at time
/// 2n - i; the loss runs at n.
template <network_size Size>
class arena_builder {
  // A node has an output and its gradient; its backward may need a copy of the gradient, and each operand a range.
  static constexpr std::size_t max_ranges = 3 * network_plan<Size>::max_nodes + network_plan<Size>::max_operands;
  static constexpr int none = -1;

 public:
  constexpr explicit arena_builder(network_plan<Size>& plan) : plan_(plan), n_(plan.node_count) {}

  constexpr void build() {
    place_outputs(true);
    place_gradients();
    place_all();
    for (int i = 0; i < n_; ++i) {
      plan_node& node = plan_.node(i);
      node.output_buffer = offset_of(output_of(i));
      node.gradient_buffer = offset_of(node.gradient_buffer);
      node.gradient_copy = offset_of(node.gradient_copy);
      for (int k = 0; k < node.operands; ++k) {
        plan_operand& operand = plan_.operand(node, k);
        operand.written_to = offset_of(operand.written_to);
        settle(operand.copy);
        settle(operand.add);
      }
      if (has_value(node))
        plan_.unshared_size =
            checked_add(plan_.unshared_size, (node.runs_backward ? 2 : 1) * arena_round(node.out.size()));
    }

    ranges_ = {};
    count_ = 0;
    place_outputs(false);
    plan_.inference_arena_size = place(ranges_, count_);
    for (int i = 0; i < n_; ++i) plan_.node(i).inference_buffer = offset_of(output_of(i));
  }

 private:
  [[nodiscard]] constexpr int backward_time(int i) const { return 2 * n_ - i; }
  [[nodiscard]] constexpr int& output_of(int i) { return output_of_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr int& gradient_of(int i) { return gradient_of_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr arena_range& range(int r) { return ranges_[static_cast<std::size_t>(r)]; }
  [[nodiscard]] constexpr int& holders(int r) { return holders_[static_cast<std::size_t>(r)]; }

  constexpr int add_range(int of_node, int begin) {
    range(static_cast<int>(count_)) = {arena_round(plan_.node(of_node).out.size()), begin, begin, no_buffer};
    return static_cast<int>(count_++);
  }
  // Until the ranges are placed, the plan's offsets are indices of ranges.
  [[nodiscard]] constexpr std::int64_t offset_of(std::int64_t r) {
    return r < 0 ? no_buffer : range(static_cast<int>(r)).offset;
  }
  constexpr void settle(arena_transfer& t) { t = {.from = offset_of(t.from), .to = offset_of(t.to)}; }

  /// The last time at which somebody reads node i's value; a new name for it reads as long as its own readers do.
  constexpr void find_last_uses(bool training) {
    std::fill(last_use_.begin(), last_use_.end(), 0);
    const auto use = [&](int i, int time) {
      if (i >= 0) last_use_[static_cast<std::size_t>(i)] = (std::max)(last_use_[static_cast<std::size_t>(i)], time);
    };
    use(plan_.output_node, n_);
    for (int i = n_ - 1; i >= 0; --i) {
      const plan_node& node = plan_.node(i);
      use(i, i);
      if (training && node.runs_backward && node.backward_reads_output) use(i, backward_time(i));
      for (int k = 0; k < node.operands; ++k) {
        const int from = plan_.operand(node, k).from;
        use(from, i);
        if (node.kind == node_kind::alias) use(from, last_use_[static_cast<std::size_t>(i)]);
        // A weight gradient, or the mask of the relu before the node, reads the elements of the input.
        if (training && node.runs_backward && node.backward_reads_input) use(from, backward_time(i));
      }
    }
  }

  /// Gives every output a range. A sum takes the range of a value that nobody reads later.
  constexpr void place_outputs(bool training) {
    find_last_uses(training);
    for (int i = 0; i < n_; ++i) {
      const plan_node& node = plan_.node(i);
      output_of(i) = none;
      if (node.kind == node_kind::measure) continue;
      if (node.kind == node_kind::alias) {
        const int from = plan_.operand(node, 0).from;
        output_of(i) = from < 0 ? none : output_of(from);
        continue;
      }
      if (node.kind == node_kind::sum)
        for (int k = 0; k < node.operands && output_of(i) == none; ++k) {
          const int from = plan_.operand(node, k).from;
          if (from >= 0 && output_of(from) != none && range(output_of(from)).end == i) output_of(i) = output_of(from);
        }
      if (output_of(i) == none) output_of(i) = add_range(i, i);
      range(output_of(i)).end = (std::max)(range(output_of(i)).end, last_use_[static_cast<std::size_t>(i)]);
    }
  }

  [[nodiscard]] static constexpr bool has_value(const plan_node& node) {
    return node.kind != node_kind::alias && node.kind != node_kind::measure;
  }

  /// The phase of a time: forward segments, of which the last has the loss and its backward, and backward segments.
  [[nodiscard]] constexpr int phase(int time) const {
    const int last = plan_.segments - 1;
    if (time < n_) return plan_.node(time).segment;
    return time == n_ ? last : 2 * last - plan_.node(2 * n_ - time).segment;
  }

  /// Places each range in the arena, or in the kept memory, where a range takes whole phases: micro-shards that come
  /// later in a phase still need what an earlier one has done with.
  constexpr void place_all() {
    std::array<arena_range, max_ranges> kept{};
    std::array<arena_range, max_ranges> passing{};
    std::array<std::size_t, max_ranges> number{};
    std::size_t kept_count = 0;
    std::size_t passing_count = 0;
    for (std::size_t r = 0; r < count_; ++r) {
      const arena_range& own = ranges_[r];
      if (phase(own.begin) != phase(own.end)) {
        number[r] = kept_count;
        kept[kept_count++] = {own.size, phase(own.begin), phase(own.end), no_buffer};
      } else {
        number[r] = passing_count;
        passing[passing_count++] = own;
      }
    }
    plan_.kept_size = place(kept, kept_count);
    plan_.arena_size = place(passing, passing_count);
    for (std::size_t r = 0; r < count_; ++r) {
      const bool keeps = phase(ranges_[r].begin) != phase(ranges_[r].end);
      ranges_[r].offset = keeps ? kept_base + kept[number[r]].offset : passing[number[r]].offset;
    }
  }

  constexpr void hold(int i, int r) {
    gradient_of(i) = r;
    ++holders(r);
  }

  /// Walks backward. A range of gradients may be shared by the values whose gradients are equal until one of them is
  /// added to; `holders` counts them, and the node whose backward runs.
  constexpr void place_gradients() {
    std::fill(gradient_of_.begin(), gradient_of_.end(), none);
    const int last = plan_.output_node;
    if (last >= 0 && plan_.node(last).runs_backward) hold(last, add_range(last, n_));
    for (int i = n_ - 1; i >= 0; --i) {
      plan_node& node = plan_.node(i);
      if (!node.runs_backward) continue;
      const int time = backward_time(i);
      // What a layer does not finish goes on at the node that measured for it, with the same gradient.
      int gradient = node.kind == node_kind::measure ? waiting_[static_cast<std::size_t>(i)] : gradient_of(i);
      node.gradient_buffer = gradient;
      range(gradient).end = (std::max)(range(gradient).end, time);
      const bool changes = node.kind == node_kind::layer ? !node.backward_keeps_gradient || masks_own(node)
                                                         : node.kind == node_kind::sum && masks_own(node);
      if (changes && holders(gradient) > 1) {
        --holders(gradient);
        gradient = add_range(i, time);
        ++holders(gradient);
        node.gradient_copy = gradient;
      }
      int last_operand = node.operands - 1;
      while (last_operand >= 0 && !plan_.operand(node, last_operand).gradient) --last_operand;
      for (int k = 0; k <= last_operand; ++k)
        if (plan_.operand(node, k).gradient)
          place_operand(node, plan_.operand(node, k), gradient, time, k == last_operand);
      if (node.partner >= 0 && node.kind == node_kind::layer && plan_.node(node.partner).runs_backward)
        waiting_[static_cast<std::size_t>(node.partner)] = gradient;  // which goes on holding it
      else
        --holders(gradient);
    }
  }

  /// True when the node's backward applies the mask of its fused relu to the gradient itself.
  [[nodiscard]] static constexpr bool masks_own(const plan_node& node) {
    return node.fused_leaf >= 0 && !node.output_gradient_masked;
  }

  /// Decides where the gradient of an operand comes to lie, at the time of the node's backward. After the `last`
  /// operand nobody reads the node's own gradient, unless others hold it.
  constexpr void place_operand(const plan_node& node, plan_operand& operand, int gradient, int time, bool last) {
    const int from = operand.from;
    int contribution = gradient;  // a new name and a sum hand their gradient on
    if (node.kind != node_kind::alias && node.kind != node_kind::sum) {
      const int output = output_of(from);
      if (node.backward_in_place && holders(gradient) == 1)
        contribution = gradient;
      else if (node.backward_overwrites_input && output != none && range(output).end == time && holders(output) == 0 &&
               gradient_of(from) == none)
        contribution = output;  // nobody reads the value after this backward, so its gradient takes its place
      else
        contribution = add_range(from, time);
      operand.written_to = contribution;
    }
    if (gradient_of(from) == none) {
      hold(from, contribution);
    } else if (const int before = gradient_of(from); holders(before) == 1 && before != contribution) {
      operand.add = {.from = contribution, .to = before};
    } else {
      // Others still read what is there: the sum takes memory of its own.
      --holders(before);
      if (contribution == gradient && !(last && holders(gradient) == 1)) {
        const int total = add_range(from, time);
        operand.copy = {.from = contribution, .to = total};
        contribution = total;
      }
      operand.add = {.from = before, .to = contribution};
      hold(from, contribution);
    }
    range(gradient_of(from)).end = (std::max)(range(gradient_of(from)).end, time);
  }

  network_plan<Size>& plan_;
  int n_;
  std::array<arena_range, max_ranges> ranges_{};
  std::size_t count_ = 0;
  std::array<int, network_plan<Size>::max_nodes> output_of_{};    // range of a node's output; none: the user's input
  std::array<int, network_plan<Size>::max_nodes> gradient_of_{};  // range of its gradient so far
  std::array<int, network_plan<Size>::max_nodes> last_use_{};
  std::array<int, network_plan<Size>::max_nodes> waiting_{};  // by node that measures: its layer's gradient
  std::array<int, max_ranges> holders_{};
};

template <network_size Size>
constexpr void build_arena(network_plan<Size>& plan) {
  arena_builder<Size>(plan).build();
}

}  // namespace lockstep::detail
