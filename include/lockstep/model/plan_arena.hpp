// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/model/arena_range.hpp>
#include <lockstep/model/network_plan.hpp>

namespace lockstep::detail {

// A node has an output and its gradient; its backward may need a copy of the gradient, and each operand a range.
template <network_size Size>
inline constexpr std::size_t max_ranges = 3 * network_plan<Size>::max_nodes + network_plan<Size>::max_operands;

/// A plan whose values have ranges of memory, but these no places yet: offsets in the plan are numbers of ranges, in
/// `training` for all but inference_buffer.
template <network_size Size>
struct unplaced_plan {
  network_plan<Size> plan;
  arena_placement<max_ranges<Size>> training;
  arena_placement<max_ranges<Size>> inference;
};

/// Decides which values share memory. With n nodes, node i runs forward at time i and backward at time 2n - i; the loss
/// runs at n.
template <network_size Size>
class arena_builder {
  static constexpr int none = -1;

 public:
  constexpr explicit arena_builder(const network_plan<Size>& plan) : n_(plan.node_count) { result_.plan = plan; }

  constexpr unplaced_plan<Size> build() {
    ranges_ = &result_.inference;
    place_outputs(false);
    for (int i = 0; i < n_; ++i) plan_.node(i).inference_buffer = output_of(i);
    ranges_ = &result_.training;
    place_outputs(true);
    for (int i = 0; i < n_; ++i) plan_.node(i).output_buffer = output_of(i);
    place_gradients();
    return result_;
  }

 private:
  [[nodiscard]] constexpr int backward_time(int i) const { return 2 * n_ - i; }
  /// The node that computes output k of the network.
  [[nodiscard]] constexpr int output(int k) const { return plan_.outputs[static_cast<std::size_t>(k)].node; }
  [[nodiscard]] constexpr int& output_of(int i) { return output_of_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr int& gradient_of(int i) { return gradient_of_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] constexpr arena_range& range(int r) { return ranges_->ranges[r]; }
  [[nodiscard]] constexpr int& holders(int r) { return holders_[static_cast<std::size_t>(r)]; }

  constexpr int add_range(int of_node, int begin) {
    return static_cast<int>(ranges_->add(arena_round(plan_.node(of_node).out.size()), begin, begin));
  }

  /// The last time at which somebody reads node i's value; a new name for it reads as long as its own readers do.
  constexpr void find_last_uses(bool training) {
    std::fill(last_use_.begin(), last_use_.end(), 0);
    const auto use = [&](int i, int time) {
      if (i >= 0) last_use_[static_cast<std::size_t>(i)] = (std::max)(last_use_[static_cast<std::size_t>(i)], time);
    };
    for (int k = 0; k < plan_.output_count; ++k) use(output(k), n_);
    for (int i = n_ - 1; i >= 0; --i) {
      const plan_node& node = plan_.node(i);
      use(i, i);
      if (training && node.runs_backward && node.backward_reads_output) use(i, backward_time(i));
      for (int k = 0; k < node.operands; ++k) {
        const int from = plan_.operand(node, k).from;
        use(from, i);
        if (k == 0 && node.hands_on()) use(from, last_use_[static_cast<std::size_t>(i)]);
        // A weight gradient, or the mask of the relu before the node, reads the elements of the input.
        if (training && node.runs_backward && node.backward_reads_input && (k == 0 || node.is_joint()))
          use(from, backward_time(i));
      }
    }
  }

  /// Gives every output a range. A sum takes the range of a value that nobody reads later, and so does a layer that
  /// adds a value: the range of that.
  constexpr void place_outputs(bool training) {
    find_last_uses(training);
    for (int i = 0; i < n_; ++i) {
      const plan_node& node = plan_.node(i);
      output_of(i) = none;
      if (node.kind == node_kind::measure) continue;
      if (node.hands_on()) {
        const int from = plan_.operand(node, 0).from;
        output_of(i) = from < 0 ? none : output_of(from);
        continue;
      }
      if (node.kind == node_kind::sum || node.adds_value())
        for (int k = node.adds_value() ? 1 : 0; k < node.operands && output_of(i) == none; ++k) {
          const int from = plan_.operand(node, k).from;
          if (from >= 0 && output_of(from) != none && range(output_of(from)).end == i) output_of(i) = output_of(from);
        }
      if (output_of(i) == none) output_of(i) = add_range(i, i);
      range(output_of(i)).end = (std::max)(range(output_of(i)).end, last_use_[static_cast<std::size_t>(i)]);
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
    for (int k = 0; k < plan_.output_count; ++k)
      if (const int last = output(k); last >= 0 && plan_.node(last).runs_backward) hold(last, add_range(last, n_));
    for (int i = n_ - 1; i >= 0; --i) {
      plan_node& node = plan_.node(i);
      if (!node.runs_backward) continue;
      const int time = backward_time(i);
      // What a layer does not finish goes on at the node that measured for it, with the same gradient.
      int gradient = node.kind == node_kind::measure ? waiting_[static_cast<std::size_t>(i)] : gradient_of(i);
      node.gradient_buffer = gradient;
      // Where a composite is skipped, its beginning takes the gradient that arrived at its end: keep that until then.
      if (node.kind == node_kind::skip_begin) {
        const auto leaving = static_cast<int>(plan_.node(node.partner).gradient_buffer);
        range(leaving).end = (std::max)(range(leaving).end, time);
      }
      range(gradient).end = (std::max)(range(gradient).end, time);
      const bool changes = node.kind == node_kind::layer ? !node.backward_keeps_gradient || masks_own(node)
                                                         : node.kind == node_kind::sum && masks_own(node);
      if (changes && holders(gradient) > 1) {
        --holders(gradient);
        gradient = add_range(i, time);
        ++holders(gradient);
        node.gradient_copy = gradient;
      }
      const bool waits = node.partner >= 0 && node.kind == node_kind::layer && plan_.node(node.partner).runs_backward;
      int last_operand = node.operands - 1;
      while (last_operand >= 0 && !plan_.operand(node, last_operand).gradient) --last_operand;
      for (int k = 0; k <= last_operand; ++k)
        if (plan_.operand(node, k).gradient)
          place_operand(node, plan_.operand(node, k), gradient, time, k == last_operand && !waits);
      if (waits)
        waiting_[static_cast<std::size_t>(node.partner)] = gradient;  // which goes on holding it
      else
        --holders(gradient);
    }
  }

  /// True when the node's backward applies the mask of its fused relu to the gradient itself.
  [[nodiscard]] static constexpr bool masks_own(const plan_node& node) {
    return node.fused_leaf >= 0 && !node.output_gradient_masked;
  }

  /// Decides where the gradient of an operand comes to lie, at the time of the node's backward. `last`: nobody reads
  /// the node's own gradient again, neither for a further operand nor where the node measured.
  constexpr void place_operand(const plan_node& node, plan_operand& operand, int gradient, int time, bool last) {
    const int from = operand.from;
    int contribution = gradient;  // a new name, a sum, and a layer that adds a value hand their gradient on
    if (!node.hands_on() && node.kind != node_kind::sum && !node.adds_value()) {
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

  unplaced_plan<Size> result_{};
  network_plan<Size>& plan_ = result_.plan;
  int n_;
  arena_placement<max_ranges<Size>>* ranges_ = nullptr;
  std::array<int, network_plan<Size>::max_nodes> output_of_{};    // range of a node's output; none: the user's input
  std::array<int, network_plan<Size>::max_nodes> gradient_of_{};  // range of its gradient so far
  std::array<int, network_plan<Size>::max_nodes> last_use_{};
  std::array<int, network_plan<Size>::max_nodes> waiting_{};  // by node that measures: its layer's gradient
  std::array<int, max_ranges<Size>> holders_{};
};

/// The phase of a time: forward segments, of which the last has the loss and its backward, and backward segments.
template <network_size Size>
constexpr int phase_of(const network_plan<Size>& plan, int time) {
  const int last = plan.segments - 1;
  if (time < plan.node_count) return plan.node(time).segment;
  return time == plan.node_count ? last : 2 * last - plan.node(2 * plan.node_count - time).segment;
}

/// True for a range that lives from one phase to another: it is kept for all samples of the shard.
template <network_size Size>
constexpr bool is_kept(const network_plan<Size>& plan, const arena_range& range) {
  return phase_of(plan, range.begin) != phase_of(plan, range.end);
}

/// The ranges that are kept, or those that are not. A kept range takes whole phases: micro-shards that come later in a
/// phase still need what an earlier one has done with.
template <network_size Size>
constexpr arena_placement<max_ranges<Size>> select_ranges(const unplaced_plan<Size>& all, bool kept) {
  arena_placement<max_ranges<Size>> chosen;
  for (std::size_t r = 0; r < all.training.count; ++r) {
    const arena_range& range = all.training.ranges[r];
    if (is_kept(all.plan, range) != kept) continue;
    if (kept)
      chosen.add(range.size, phase_of(all.plan, range.begin), phase_of(all.plan, range.end));
    else
      chosen.add(range.size, range.begin, range.end);
  }
  return chosen;
}

/// The arena, and what one segment reads and writes of the memory that is kept, whichever segment has most of it.
template <network_size Size>
constexpr std::int64_t working_size(const network_plan<Size>& plan) {
  std::int64_t most = 0;
  for (int segment = 0; segment < plan.segments; ++segment) {
    std::int64_t kept = 0;
    for (int i = 0; i < plan.node_count; ++i) {
      const plan_node& node = plan.node(i);
      if (node.segment != segment || node.kind == node_kind::measure || node.hands_on()) continue;
      if (node.output_buffer >= kept_base) kept = checked_add(kept, node.out.size());
      for (int k = 0; k < node.operands; ++k)
        if (const int from = plan.operand(node, k).from; from >= 0 && plan.node(from).segment < segment)
          kept = checked_add(kept, plan.node(from).out.size());
    }
    most = (std::max)(most, kept);
  }
  return checked_add(plan.arena_size, most);
}

/// Replaces the numbers of ranges in a plan by their offsets.
template <network_size Size, class Placement>
constexpr network_plan<Size> place_plan(const unplaced_plan<Size>& all, const Placement& passing, const Placement& kept,
                                        const Placement& inference) {
  network_plan<Size> plan = all.plan;
  std::int64_t offsets[max_ranges<Size>]{};
  std::size_t passing_count = 0;
  std::size_t kept_count = 0;
  for (std::size_t r = 0; r < all.training.count; ++r)
    offsets[r] = is_kept(all.plan, all.training.ranges[r]) ? kept_base + kept.ranges[kept_count++].offset
                                                           : passing.ranges[passing_count++].offset;
  const auto place = [&](std::int64_t& r) { r = r < 0 ? no_buffer : offsets[r]; };
  for (int i = 0; i < plan.node_count; ++i) {
    plan_node& node = plan.node(i);
    for (std::int64_t* each : {&node.output_buffer, &node.gradient_buffer, &node.gradient_copy}) place(*each);
    if (node.inference_buffer >= 0) node.inference_buffer = inference.ranges[node.inference_buffer].offset;
    for (int k = 0; k < node.operands; ++k) {
      plan_operand& operand = plan.operand(node, k);
      for (std::int64_t* each :
           {&operand.written_to, &operand.copy.from, &operand.copy.to, &operand.add.from, &operand.add.to})
        place(*each);
    }
    if (node.kind != node_kind::alias && node.kind != node_kind::measure && node.kind != node_kind::skip_begin &&
        node.kind != node_kind::skip_end)
      plan.unshared_size = checked_add(plan.unshared_size, (node.runs_backward ? 2 : 1) * arena_round(node.out.size()));
    // An output that is also another has a gradient of its own.
    if (node.kind == node_kind::alias && node.leaf < 0 && node.runs_backward)
      plan.unshared_size = checked_add(plan.unshared_size, arena_round(node.out.size()));
  }
  plan.arena_size = passing.size;
  plan.kept_size = kept.size;
  plan.inference_arena_size = inference.size;
  plan.working_size = working_size(plan);
  return plan;
}

}  // namespace lockstep::detail
