// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/networks.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

/// An arena in which every element remembers which value was written to it last. A pass is played through with it;
/// whoever reads must find each element as its owner left it.
class marked_arena {
 public:
  explicit marked_arena(std::int64_t size) : owner_(static_cast<std::size_t>(size), 0) {}

  void write(std::int64_t offset, std::int64_t size, int value) {
    REQUIRE(offset >= 0);
    REQUIRE(offset + size <= static_cast<std::int64_t>(owner_.size()));
    for (std::int64_t i = offset; i < offset + size; ++i) owner_[static_cast<std::size_t>(i)] = value;
  }
  [[nodiscard]] bool holds(std::int64_t offset, std::int64_t size, int value) const {
    for (std::int64_t i = offset; i < offset + size; ++i)
      if (owner_[static_cast<std::size_t>(i)] != value) return false;
    return true;
  }

 private:
  std::vector<int> owner_;
};

bool apart(std::int64_t a, std::int64_t a_size, std::int64_t b, std::int64_t b_size) {
  return a + a_size <= b || b + b_size <= a;
}

/// What each layer's backward reads, by the layer itself.
struct layer_needs {
  bool input, output, in_place, masks_input;
};

template <class Model>
std::vector<layer_needs> needs() {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    return std::vector<layer_needs>{
        {Model::template leaf<I>::traits.backward_reads_input, Model::template leaf<I>::traits.backward_reads_output,
         Model::template leaf<I>::traits.backward_in_place, Model::template leaf<I>::traits.masks_input}...};
  }(std::make_index_sequence<Model::leaf_count>{});
}

/// Plays forward, loss and backward through the arena.
template <class Model, class B>
void check_training() {
  const auto& plan = Model::template plan<B>;
  const auto layers = needs<Model>();
  const int n = plan.node_count;
  const auto node = [&](int i) -> const ls::plan_node& { return plan.nodes[static_cast<std::size_t>(i)]; };
  marked_arena arena(plan.arena_size);
  const auto gradient_mark = [&](int i) { return 1000 + i; };  // of node i's output

  // The node whose memory holds node i's output: an alias has its predecessor's. -1: the user's input.
  const auto holder = [&](int i) {
    while (i >= 0 && node(i).kind == ls::node_kind::alias) --i;
    return i;
  };
  const auto check_output = [&](int i, const char* reader) {
    const int h = holder(i);
    if (h < 0) return;
    INFO(reader << " reads the output of node " << h);
    CHECK(arena.holds(node(h).output_buffer, node(h).out.size(), h + 1));
  };

  for (int i = 0; i < n; ++i) {
    if (node(i).kind == ls::node_kind::alias) continue;
    INFO("forward of node " << i);
    check_output(i - 1, "forward");
    if (const int h = holder(i - 1); h >= 0)
      CHECK(apart(node(h).output_buffer, node(h).out.size(), node(i).output_buffer, node(i).out.size()));
    arena.write(node(i).output_buffer, node(i).out.size(), i + 1);
  }

  check_output(n - 1, "loss");
  if (!node(n - 1).runs_backward) return;
  if (const int h = holder(n - 1); h >= 0)
    CHECK(apart(node(h).output_buffer, node(h).out.size(), node(n - 1).gradient_buffer, node(n - 1).out.size()));
  arena.write(node(n - 1).gradient_buffer, node(n - 1).out.size(), gradient_mark(n - 1));

  for (int i = n - 1; i >= 0; --i) {
    if (!node(i).runs_backward) continue;
    INFO("backward of node " << i);
    const std::int64_t dy = node(i).gradient_buffer;
    const std::int64_t size = node(i).out.size();
    CHECK(arena.holds(dy, size, gradient_mark(i)));
    const bool alias = node(i).kind == ls::node_kind::alias;
    const bool layer = node(i).kind == ls::node_kind::layer;
    const layer_needs need =
        layer ? layers[static_cast<std::size_t>(node(i).leaf)] : layer_needs{false, false, alias, false};
    // A fused relu needs its own output, unless the next layer applies the mask, which reads the same elements as its
    // input.
    const bool masks_itself = node(i).fused_leaf >= 0 && !node(i).output_gradient_masked;
    if (need.input || node(i).mask_input) check_output(i - 1, "backward");
    if (need.output || masks_itself) check_output(i, "backward");

    if (i == 0 || !node(i).input_gradient) continue;
    const std::int64_t dx = node(i - 1).gradient_buffer;
    const std::int64_t dx_size = node(i - 1).out.size();
    if (need.in_place && dx == dy)
      CHECK(dx_size == size);
    else
      CHECK(apart(dx, dx_size, dy, size));
    // A layer that says so may put the gradient where its input lies, on exactly the same elements; marks show that
    // nobody reads that input later.
    const int input = holder(i - 1);
    const bool over_input = node(i).backward_overwrites_input && input >= 0 && dx == node(input).output_buffer &&
                            dx_size == node(input).out.size();
    for (const int reads : {need.input || node(i).mask_input ? i - 1 : -1, need.output || masks_itself ? i : -1})
      if (const int h = holder(reads); h >= 0 && !(over_input && h == input))
        CHECK(apart(dx, dx_size, node(h).output_buffer, node(h).out.size()));
    arena.write(dx, dx_size, gradient_mark(i - 1));
  }
}

template <class Model, class B>
void check_inference() {
  const auto& plan = Model::template plan<B>;
  marked_arena arena(plan.inference_arena_size);
  std::int64_t in = ls::no_buffer;
  std::int64_t in_size = 0;
  int mark = 0;
  for (int i = 0; i < plan.node_count; ++i) {
    const auto& node = plan.nodes[static_cast<std::size_t>(i)];
    if (node.kind == ls::node_kind::alias) continue;
    INFO("forward of node " << i);
    if (in != ls::no_buffer) {
      CHECK(arena.holds(in, in_size, mark));
      CHECK(apart(in, in_size, node.inference_buffer, node.out.size()));
    }
    in = node.inference_buffer;
    in_size = node.out.size();
    arena.write(in, in_size, ++mark);
  }
  if (in != ls::no_buffer) CHECK(arena.holds(in, in_size, mark));
}

/// Each fused relu that takes part in backward has its mask applied once: by itself, or by the next layer.
template <class Model, class B>
void check_masks() {
  const auto& plan = Model::template plan<B>;
  const auto layers = needs<Model>();
  int waiting = -1;
  for (int i = 0; i < plan.node_count; ++i) {
    const auto& node = plan.nodes[static_cast<std::size_t>(i)];
    if (node.kind == ls::node_kind::alias) continue;
    INFO("node " << i);
    CHECK(node.mask_input == (waiting >= 0));
    if (node.mask_input) CHECK(layers[static_cast<std::size_t>(node.leaf)].masks_input);
    if (node.output_gradient_masked) {
      CHECK(node.fused_leaf >= 0);
      CHECK_FALSE(node.backward_reads_output);  // the next layer has looked at it
    }
    waiting = node.output_gradient_masked ? i : -1;
  }
  CHECK(waiting == -1);
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
