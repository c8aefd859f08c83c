// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/networks.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

/// An arena of whole numbers. A pass is played through with it: each output is a number of its own, and each backward
/// multiplies gradients by factors of its own. Arithmetic is modulo 2^64, so that sums are exact in any order. What was
/// overwritten too early shows as a wrong number.
class number_arena {
 public:
  using number = std::uint64_t;

  explicit number_arena(std::int64_t size) : numbers_(static_cast<std::size_t>(size), 0) {}

  [[nodiscard]] bool holds(std::int64_t offset, std::int64_t size, number value) const {
    if (!has(offset, size)) return false;
    return std::all_of(at(offset), at(offset + size), [&](number n) { return n == value; });
  }
  void write(std::int64_t offset, std::int64_t size, number value) {
    REQUIRE(has(offset, size));
    std::fill(begin(offset), begin(offset + size), value);
  }
  /// Element by element: to = f(from, to).
  template <class F>
  void transform(std::int64_t from, std::int64_t to, std::int64_t size, const F& f) {
    REQUIRE(has(from, size));
    REQUIRE(has(to, size));
    std::transform(at(from), at(from + size), at(to), begin(to), f);
  }

 private:
  [[nodiscard]] bool has(std::int64_t offset, std::int64_t size) const {
    return offset >= 0 && offset + size <= static_cast<std::int64_t>(numbers_.size());
  }
  [[nodiscard]] std::vector<number>::const_iterator at(std::int64_t offset) const { return numbers_.begin() + offset; }
  [[nodiscard]] std::vector<number>::iterator begin(std::int64_t offset) { return numbers_.begin() + offset; }

  std::vector<number> numbers_;
};

bool apart(std::int64_t a, std::int64_t a_size, std::int64_t b, std::int64_t b_size) {
  return a + a_size <= b || b + b_size <= a;
}

/// A plan with what its layers say of themselves, and the numbers that a pass must find.
template <class Model, class B>
struct played_plan {
  using number = number_arena::number;
  static constexpr const auto& plan = Model::template plan<B>;
  static constexpr int n = plan.node_count;

  static const ls::plan_node& node(int i) { return plan.node(i); }
  static const ls::plan_operand& operand(int i, int k) { return plan.operand(node(i), k); }
  static bool is_layer(int i) { return node(i).kind == ls::node_kind::layer; }
  static bool is_alias(int i) { return node(i).kind == ls::node_kind::alias; }
  static bool is_sum(int i) { return node(i).kind == ls::node_kind::sum; }
  static ls::layer_traits traits(int i) {
    return is_layer(i) ? Model::graph.leaves[static_cast<std::size_t>(node(i).leaf)].traits
                       : ls::layer_traits{.backward_reads_input = false, .backward_keeps_gradient = true};
  }

  /// The node whose memory holds node i's output: that of an alias is what it reads. -1: the user's input.
  static int holder(int i) {
    while (i >= 0 && is_alias(i)) i = operand(i, 0).from;
    return i;
  }
  static int output_node(int k) { return plan.outputs[static_cast<std::size_t>(k)].node; }
  /// What the loss of output k writes.
  static number loss_gradient(int k) { return 1 + 104729 * static_cast<number>(k); }
  static number output(int i) { return 7919 * static_cast<number>(i + 1); }
  /// What node i's backward multiplies by for operand k; a new name and a sum hand gradients on.
  static number factor(int i, int k) { return is_alias(i) || is_sum(i) ? 1 : 2 * static_cast<number>(31 * i + k) + 3; }
  /// The complete gradients of all outputs, from the definition.
  static std::vector<number> gradients() {
    std::vector<number> all(static_cast<std::size_t>(n), 0);
    for (int k = 0; k < plan.output_count; ++k)
      if (const int last = output_node(k); last >= 0) all[static_cast<std::size_t>(last)] = loss_gradient(k);
    for (int i = n - 1; i >= 0; --i)
      for (int k = 0; k < node(i).operands; ++k)
        if (const int from = operand(i, k).from; from >= 0)
          all[static_cast<std::size_t>(from)] += all[static_cast<std::size_t>(i)] * factor(i, k);
    return all;
  }
  /// True when node i applies the mask of its relu to the gradient of its output.
  static bool masks_itself(int i) { return node(i).fused_leaf >= 0 && !node(i).output_gradient_masked; }
  static bool reads_input(int i) {
    const bool for_gradients = !(node(i).frozen && traits(i).skips_parameter_gradient);
    return (traits(i).backward_reads_input && for_gradients) || node(i).mask_input;
  }
  static bool reads_output(int i) { return traits(i).backward_reads_output || masks_itself(i); }
};

/// Plays forward, loss and backward through the arena.
template <class Model, class B>
void check_training() {
  using play = played_plan<Model, B>;
  using number = number_arena::number;
  const auto& plan = play::plan;
  number_arena arena(plan.arena_size);
  const auto gradients = play::gradients();

  const auto check_output = [&](int i, const char* reader) {
    const int h = play::holder(i);
    if (h < 0) return;
    INFO(reader << " reads the output of node " << h);
    CHECK(arena.holds(play::node(h).output_buffer, play::node(h).out.size(), play::output(h)));
  };

  for (int i = 0; i < play::n; ++i) {
    if (play::is_alias(i)) continue;
    INFO("forward of node " << i);
    const auto& node = play::node(i);
    for (int k = 0; k < node.operands; ++k) {
      const int from = play::operand(i, k).from;
      check_output(from, "forward");
      if (const int h = play::holder(from); h >= 0 && !play::is_sum(i))
        CHECK(apart(play::node(h).output_buffer, play::node(h).out.size(), node.output_buffer, node.out.size()));
    }
    arena.write(node.output_buffer, node.out.size(), play::output(i));
  }

  bool learns = false;
  for (int k = 0; k < plan.output_count; ++k) {
    const int output = play::output_node(k);
    check_output(output, "loss");
    if (output < 0 || !play::node(output).runs_backward) continue;
    learns = true;
    const auto& last = play::node(output);
    if (const int h = play::holder(output); h >= 0)
      CHECK(apart(play::node(h).output_buffer, last.out.size(), last.gradient_buffer, last.out.size()));
    arena.write(last.gradient_buffer, last.out.size(), play::loss_gradient(k));
  }
  if (!learns) return;

  for (int i = play::n - 1; i >= 0; --i) {
    const auto& node = play::node(i);
    if (!node.runs_backward) continue;
    INFO("backward of node " << i);
    const std::int64_t size = node.out.size();
    const number gradient = gradients[static_cast<std::size_t>(i)];
    CHECK(arena.holds(node.gradient_buffer, size, gradient));
    std::int64_t dy = node.gradient_buffer;
    if (node.gradient_copy != ls::no_buffer) {
      arena.write(node.gradient_copy, size, gradient);
      dy = node.gradient_copy;
    }
    if (play::reads_input(i)) check_output(play::operand(i, 0).from, "backward");
    if (play::reads_output(i)) check_output(i, "backward");
    // Some layers leave anything in dy; a relu's mask changes it, but is not shown here.
    const bool spoils = play::is_layer(i) && !play::traits(i).backward_keeps_gradient;
    bool in_place = false;

    for (int k = 0; k < node.operands; ++k) {
      const auto& operand = play::operand(i, k);
      if (!operand.gradient) continue;
      const std::int64_t dx = operand.written_to;
      const std::int64_t dx_size = play::node(operand.from).out.size();
      if (dx != ls::no_buffer) {
        if (play::traits(i).backward_in_place && dx == dy) {
          CHECK(dx_size == size);
          in_place = true;
        } else {
          CHECK(apart(dx, dx_size, dy, size));
        }
        // A layer that says so may put the gradient where its input lies, on exactly the same elements.
        const int input = play::holder(operand.from);
        const bool over_input = play::traits(i).backward_overwrites_input && input >= 0 &&
                                dx == play::node(input).output_buffer && dx_size == play::node(input).out.size();
        for (const int reads : {play::reads_input(i) ? operand.from : -1, play::reads_output(i) ? i : -1})
          if (const int h = play::holder(reads); h >= 0 && !(over_input && h == input))
            CHECK(apart(dx, dx_size, play::node(h).output_buffer, play::node(h).out.size()));
        arena.write(dx, dx_size, gradient * play::factor(i, k));
      }
      if (spoils && !in_place) arena.write(dy, size, ~number{0});
      if (operand.copy.needed())
        arena.transform(operand.copy.from, operand.copy.to, dx_size, [](number from, number) { return from; });
      if (operand.add.needed())
        arena.transform(operand.add.from, operand.add.to, dx_size, [](number from, number to) { return from + to; });
    }
  }
}

template <class Model, class B>
void check_inference() {
  using play = played_plan<Model, B>;
  number_arena arena(play::plan.inference_arena_size);
  const auto check_output = [&](int i) {
    if (const int h = play::holder(i); h >= 0)
      CHECK(arena.holds(play::node(h).inference_buffer, play::node(h).out.size(), play::output(h)));
  };
  for (int i = 0; i < play::n; ++i) {
    if (play::is_alias(i)) continue;
    INFO("forward of node " << i);
    const auto& node = play::node(i);
    for (int k = 0; k < node.operands; ++k) {
      check_output(play::operand(i, k).from);
      if (const int h = play::holder(play::operand(i, k).from); h >= 0 && !play::is_sum(i))
        CHECK(apart(play::node(h).inference_buffer, play::node(h).out.size(), node.inference_buffer, node.out.size()));
    }
    arena.write(node.inference_buffer, node.out.size(), play::output(i));
  }
  for (int k = 0; k < play::plan.output_count; ++k) check_output(play::output_node(k));
}

/// Each fused relu that takes part in backward has its mask applied once: by itself, or by its only reader.
template <class Model, class B>
void check_masks() {
  using play = played_plan<Model, B>;
  std::vector<int> masked_by(static_cast<std::size_t>(play::n), 0);
  std::vector<int> readers(static_cast<std::size_t>(play::n), 0);
  for (int k = 0; k < play::plan.output_count; ++k)
    if (const int last = play::holder(play::output_node(k)); last >= 0) ++readers[static_cast<std::size_t>(last)];
  for (int i = 0; i < play::n; ++i)
    for (int k = 0; k < play::node(i).operands; ++k) {
      const int read = play::holder(play::operand(i, k).from);
      if (read < 0) continue;
      if (!play::is_alias(i)) ++readers[static_cast<std::size_t>(read)];
      if (!play::node(i).mask_input) continue;
      CHECK(play::traits(i).masks_input);
      ++masked_by[static_cast<std::size_t>(read)];
    }
  for (int i = 0; i < play::n; ++i) {
    const auto& node = play::node(i);
    INFO("node " << i);
    CHECK(masked_by[static_cast<std::size_t>(i)] == (node.output_gradient_masked ? 1 : 0));
    if (!node.output_gradient_masked) continue;
    CHECK(node.fused_leaf >= 0);
    CHECK(readers[static_cast<std::size_t>(i)] == 1);
    CHECK_FALSE(node.backward_reads_output);  // the reader has looked at it
  }
}

template <class Model>
void check_network() {
  check_training<Model, ls::cpu>();
  check_training<Model, ls::reference<double>>();
  check_inference<Model, ls::cpu>();
  check_inference<Model, ls::reference<double>>();
  check_masks<Model, ls::cpu>();
  check_masks<Model, ls::reference<double>>();
}

}  // namespace

TEST_CASE("no value in the arena is overwritten while somebody will read it", "[arena]") {
  SECTION("mlp") { check_network<mlp>(); }
  SECTION("cnn") { check_network<cnn>(); }
  SECTION("deep") { check_network<deep>(); }
  SECTION("dropout") { check_network<with_dropout>(); }
  SECTION("only flatten") { check_network<only_flatten>(); }
  SECTION("picture output") { check_network<picture_output>(); }
  SECTION("flat pictures") { check_network<flat_pictures>(); }
  SECTION("relu first") { check_network<relu_first>(); }
  SECTION("one layer") { check_network<one_layer>(); }
  SECTION("residual blocks") { check_network<small_resnet>(); }
  SECTION("concat") { check_network<small_unet>(); }
  SECTION("tangled") { check_network<tangled>(); }
  SECTION("at the edges") { check_network<at_the_edges>(); }
  SECTION("tied") { check_network<tied_layers>(); }
  SECTION("tied over pictures") { check_network<tied_over_pictures>(); }
  SECTION("frozen branches") { check_network<frozen_branches>(); }
  SECTION("masked sums") { check_network<masked_sums>(); }
  SECTION("untidy layers") { check_network<untidy_layers>(); }
  SECTION("two heads") { check_network<two_heads>(); }
  SECTION("picture heads") { check_network<picture_heads>(); }
  SECTION("tangled heads") { check_network<tangled_heads>(); }
  SECTION("the input as an output") { check_network<input_as_output>(); }
  SECTION("frozen heads") { check_network<frozen_heads>(); }
}

TEST_CASE("ranges start on cache lines for any number of samples", "[arena]") {
  const auto& plan = deep::plan<ls::cpu>;
  for (int i = 0; i < plan.node_count; ++i) {
    const auto& node = plan.nodes[static_cast<std::size_t>(i)];
    if (node.output_buffer != ls::no_buffer) CHECK(node.output_buffer % 16 == 0);
    if (node.gradient_buffer != ls::no_buffer) CHECK(node.gradient_buffer % 16 == 0);
    if (node.inference_buffer != ls::no_buffer) CHECK(node.inference_buffer % 16 == 0);
  }
}

TEST_CASE("memory is reused where that is possible", "[arena]") {
  CHECK(deep::plan<ls::cpu>.arena_size < deep::plan<ls::cpu>.unshared_size);
  CHECK(mlp::plan<ls::cpu>.arena_size < mlp::plan<ls::cpu>.unshared_size);
  CHECK(cnn::plan<ls::cpu>.arena_size < cnn::plan<ls::cpu>.unshared_size);
  CHECK(deep::plan<ls::cpu>.inference_arena_size < deep::plan<ls::cpu>.arena_size);

  // Side by side: every output, and the gradients of those that backward runs for.
  const auto side_by_side = [](const auto& plan) {
    std::int64_t sum = 0;
    for (int i = 0; i < plan.node_count; ++i) {
      const auto& node = plan.nodes[static_cast<std::size_t>(i)];
      if (node.kind == ls::node_kind::alias) continue;
      sum += (node.out.size() + 15) / 16 * 16;
      if (node.runs_backward) sum += (node.out.size() + 15) / 16 * 16;
    }
    return sum;
  };
  REQUIRE_FALSE(relu_first::plan<ls::cpu>.nodes[0].runs_backward);
  CHECK(relu_first::plan<ls::cpu>.unshared_size == side_by_side(relu_first::plan<ls::cpu>));
  CHECK(deep::plan<ls::cpu>.unshared_size == side_by_side(deep::plan<ls::cpu>));

  // A chain keeps two neighbours at a time: the largest such pair is what inference needs at least.
  const auto& plan = deep::plan<ls::reference<double>>;
  std::int64_t pair = 0;
  std::int64_t before = 0;
  for (int i = 0; i < plan.node_count; ++i) {
    const auto& node = plan.nodes[static_cast<std::size_t>(i)];
    if (node.kind == ls::node_kind::alias) continue;
    const std::int64_t own = (node.out.size() + 15) / 16 * 16;
    pair = std::max(pair, before + own);
    before = own;
  }
  CHECK(plan.inference_arena_size == pair);

  CHECK(only_flatten::plan<ls::cpu>.arena_size == 0);
  CHECK(only_flatten::plan<ls::cpu>.inference_arena_size == 0);
}
