// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/model/segments.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/nn/batch_norm.hpp>
#include <lockstep/parallel/parameters.hpp>

#include "model/networks.hpp"
#include "model/plan_support.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

/// \file
/// Where layers that measure the batch cut a pass, and where their tensors lie.

using namespace lockstep_test;

namespace {

using B = ls::reference<double>;
using body = ls::sequential<ls::named<"conv1", conv3<4>>, ls::named<"bn1", ls::batch_norm2d<>>, ls::relu,
                            ls::named<"conv2", conv3<4>>, ls::named<"bn2", ls::batch_norm2d<>>>;
using net = ls::sequential<
    ls::named<"conv", conv3<4>>, ls::named<"bn", ls::batch_norm2d<>>, ls::relu,
    ls::named<"block",
              ls::residual<body, ls::named<"down", ls::sequential<ls::conv2d<4, 1>, ls::batch_norm2d<ls::no_affine>>>>>,
    ls::relu, ls::flatten, ls::named<"fc", ls::linear<2>>>;
using model = ls::model<net, ls::input<2, 4, 4>, ls::mean_squared_error>;
constexpr const auto& plan = model::plan<B>;

template <ls::tensors Chosen>
std::vector<std::string> names() {
  std::vector<double> values(static_cast<std::size_t>(plan.value_count));
  std::vector<std::string> all;
  for (const auto& each : ls::named_values_range<model, B, 1, false, Chosen>({values.data()}))
    all.emplace_back(each.name());
  return all;
}

}  // namespace

TEST_CASE("a pass is cut where the batch is measured, once for branches that do not depend on each other",
          "[segments]") {
  CHECK(nodes<model, B>() == std::vector<std::string>{"conv2d", "measure", "batch_norm2d+relu", "conv2d", "measure",
                                                      "batch_norm2d+relu", "conv2d", "measure", "conv2d", "measure",
                                                      "batch_norm2d", "batch_norm2d+sum+relu", "alias", "linear"});
  std::vector<int> segments;
  for (int i = 0; i < plan.node_count; ++i) segments.push_back(plan.node(i).segment);
  CHECK(segments == std::vector<int>{0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3});
  CHECK(plan.segments == 4);
  CHECK(plan.measured_layers == 4);
  CHECK(plan.measured_channels == 16);
  CHECK(plan.kept_size > 0);
  // Both layers that read the value of the first normalisation are in another segment than it.
  CHECK(plan.node(2).output_buffer >= ls::kept_base);
  CHECK(small_resnet::plan<B>.segments == 1);
  CHECK(small_resnet::plan<B>.kept_size == 0);
}

TEST_CASE("learning parameters of the segments are ranges one after the other", "[segments]") {
  std::int64_t next = 0;
  for (int s = 0; s < plan.segments; ++s) {
    const auto [first, last] = ls::detail::learning_ranges<model, B>[static_cast<std::size_t>(s)];
    CHECK(first == next);
    next = last;
  }
  CHECK(next == plan.trainable_count);
}

TEST_CASE("tensors come in the order of the layers, buffers lie behind the parameters", "[segments]") {
  CHECK(names<ls::tensors::parameters>() ==
        std::vector<std::string>{"conv.weight", "conv.bias", "bn.weight", "bn.bias", "block.conv1.weight",
                                 "block.conv1.bias", "block.bn1.weight", "block.bn1.bias", "block.conv2.weight",
                                 "block.conv2.bias", "block.bn2.weight", "block.bn2.bias", "block.down.0.weight",
                                 "block.down.0.bias", "fc.weight", "fc.bias"});
  CHECK(names<ls::tensors::buffers>().size() == 12);
  CHECK(names<ls::tensors::state>().size() == 28);
  CHECK(plan.value_count == plan.parameter_count + 4 * (4 + 4 + 1));
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    const auto& tensor = plan.parameters[static_cast<std::size_t>(p)];
    CHECK((tensor.offset >= plan.parameter_count) == tensor.buffer);
  }
}

TEST_CASE("one value for a channel is refused where no pixels add to it", "[segments]") {
  using rows = ls::model<ls::sequential<ls::linear<3>, ls::batch_norm1d<>>, ls::input<2>, ls::mean_squared_error>;
  constexpr auto every_layer = [](int) { return true; };
  CHECK_NOTHROW(ls::detail::check_values_per_channel<model, B>(1, false, every_layer));
  CHECK_NOTHROW(ls::detail::check_values_per_channel<rows, B>(2, false, every_layer));
  CHECK(message_of<ls::value_error>([&] { ls::detail::check_values_per_channel<rows, B>(1, false, every_layer); }) ==
        "lockstep: batch_norm1d '1': expected more than one value for each channel when training, got one, in a batch "
        "of 1 sample; make batches larger, and drop a last one that is short");
  CHECK_NOTHROW(ls::detail::check_values_per_channel<rows, B>(1, false, [](int leaf) { return leaf == 0; }));
}
