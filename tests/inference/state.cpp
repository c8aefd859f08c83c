// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What an inference is made of, what it takes, and what it refuses.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <lockstep/core/tensor.hpp>
#include <lockstep/core/view.hpp>
#include <lockstep/inference.hpp>
#include <lockstep/io/safetensors.hpp>

#include "inference/inference_support.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::named<"conv", ls::conv2d<3, 3>>, ls::named<"norm", ls::batch_norm2d<>>, ls::relu,
                           ls::flatten, ls::named<"head", ls::linear<4>>>;
using classifier = ls::model<net, ls::input<2, 5, 5>>;
using wider = ls::model<ls::sequential<ls::named<"conv", ls::conv2d<5, 3>>, ls::named<"norm", ls::batch_norm2d<>>,
                                       ls::relu, ls::flatten, ls::named<"head", ls::linear<4>>>,
                        ls::input<2, 5, 5>>;
using renamed = ls::model<ls::sequential<ls::named<"other", ls::conv2d<3, 3>>, ls::named<"norm", ls::batch_norm2d<>>,
                                         ls::relu, ls::flatten, ls::named<"head", ls::linear<4>>>,
                          ls::input<2, 5, 5>>;

/// The state of a model with values of our own.
template <class Model>
struct filled_state : ls::detail::infer::model_state<Model> {
  filled_state() {
    const auto values = random_state<Model>();
    std::size_t at = 0;
    for (const auto& tensor : this->parameters()) {
      const auto size = static_cast<std::size_t>(tensor.shape().size());
      tensor.assign(std::span(values).subspan(at, size));
      if (tensor.counts()) tensor.assign(std::array{3.F});
      at += size;
    }
  }
};

}  // namespace

TEST_CASE("inference: the state is what torch's state_dict lists", "[inference]") {
  const ls::detail::infer::model_state<classifier> state;
  std::vector<std::string> names;
  for (const auto& tensor : state.parameters()) names.emplace_back(tensor.name());
  CHECK(names == std::vector<std::string>{"conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
                                          "norm.running_var", "norm.num_batches_tracked", "head.weight", "head.bias"});
  STATIC_REQUIRE(ls::inference<classifier>::state_size == 54 + 3 + 4 * 3 + 1 + 4 * 27 + 4);
  STATIC_REQUIRE(ls::inference<classifier>::input_size == 50);
  STATIC_REQUIRE(ls::inference<classifier>::output_size == 4);
}

TEST_CASE("inference: a safetensors file", "[inference]") {
  const temporary_folder folder;
  const filled_state<classifier> state;
  ls::save_safetensors(state, folder / "model.safetensors");
  const auto loaded = ls::inference<classifier>::load(folder / "model.safetensors");
  const ls::inference<classifier> model(state.values());
  const auto x = random_values(50);
  CHECK(loaded(x) == model(x));
  CHECK(ls::inference<classifier>(state)(x) == model(x));

  CHECK_THROWS_AS(ls::inference<classifier>::load(folder / "missing.safetensors"), ls::io_error);
  const std::string shape =
      message_of<ls::io_error>([&] { static_cast<void>(ls::inference<wider>::load(folder / "model.safetensors")); });
  CHECK(shape.find("tensor 'conv.weight': expected shape") != std::string::npos);
  const std::string name =
      message_of<ls::io_error>([&] { static_cast<void>(ls::inference<renamed>::load(folder / "model.safetensors")); });
  CHECK(name.find("other.weight") != std::string::npos);
}

TEST_CASE("inference: refuses parameters of another model", "[inference]") {
  const filled_state<classifier> state;
  const std::vector<float> fewer(100);
  CHECK(message_of<ls::shape_error>([&] { static_cast<void>(ls::inference<classifier>(fewer)); }) ==
        "lockstep: inference: expected 182 values in the order of torch's state_dict, got 100");
  CHECK_THROWS_AS(ls::inference<wider>(state), ls::shape_error);
  CHECK(message_of<ls::value_error>([&] { static_cast<void>(ls::inference<renamed>(state)); }) ==
        "lockstep: inference: expected other.weight, got conv.weight; give a trainer of the same model");
  using shorter = ls::model<ls::sequential<ls::named<"conv", ls::conv2d<3, 3>>>, ls::input<2, 5, 5>>;
  CHECK_THROWS_AS(ls::inference<shorter>(state), ls::value_error);
  const filled_state<shorter> part;
  CHECK_THROWS_AS(ls::inference<classifier>(part), ls::value_error);
}

TEST_CASE("inference: samples of every kind", "[inference]") {
  const ls::inference<classifier> model(random_state<classifier>());
  const auto x = random_values(50);
  const auto wanted = model(x);
  std::array<float, 50> array{};
  float plain[50];
  ls::batch_of<float, 2, 5, 5> batch(1);
  ls::tensor<float, ls::shape<2, 5, 5>> sample;
  for (std::size_t i = 0; i < 50; ++i) array[i] = plain[i] = batch.data()[i] = sample.data()[i] = x[i];
  CHECK(model(array) == wanted);
  CHECK(model(plain) == wanted);
  CHECK(model(std::span(x)) == wanted);
  CHECK(model(batch) == wanted);
  CHECK(model(batch.view()) == wanted);
  CHECK(model(sample) == wanted);
  CHECK(model(ls::view<2, 5, 5>(x)) == wanted);

  std::vector<float> y(4);
  std::vector<float> workspace(static_cast<std::size_t>(ls::inference<classifier>::workspace_size));
  model(x, y, workspace);
  CHECK(std::equal(y.begin(), y.end(), wanted.begin()));
  model(std::vector<float>(), std::span<float>());
}

TEST_CASE("inference: refuses samples that do not fit", "[inference]") {
  const ls::inference<classifier> model(random_state<classifier>());
  const std::vector<float> two(100);
  const std::vector<float> odd(51);
  std::vector<float> y(8);
  CHECK(message_of<ls::shape_error>([&] { static_cast<void>(model(two)); }) ==
        "lockstep: inference: expected one sample, got 2 samples");
  CHECK(message_of<ls::shape_error>([&] { static_cast<void>(model(odd)); }) ==
        "lockstep: inference: expected samples of 50 values (2x5x5), got 51 values");
  CHECK(message_of<ls::shape_error>([&] { model(two, std::span(y).first(7)); }) ==
        "lockstep: inference: expected room for 8 outputs, got 7");
  std::vector<float> workspace(static_cast<std::size_t>(ls::inference<classifier>::workspace_size - 1));
  CHECK_THROWS_AS(model(two, y, workspace), ls::shape_error);
  const ls::tensor_view<const float, ls::shape<ls::dynamic, 5, 5>> three_channels(two.data(), 3);
  CHECK(message_of<ls::shape_error>([&] { static_cast<void>(model(three_channels)); }) ==
        "lockstep: inference: expected samples of 2x5x5, got samples of 3x5x5");
}

TEST_CASE("inference: a model whose values do not fit the stack takes a workspace", "[inference]") {
  using big = ls::model<
      ls::sequential<ls::conv2d<32, 3, ls::padding<1>>, ls::relu, ls::avg_pool2d<64>, ls::flatten, ls::linear<3>>,
      ls::input<3, 64, 64>>;
  STATIC_REQUIRE(!ls::inference<big>::fits_stack);
  STATIC_REQUIRE(ls::inference<classifier>::fits_stack);
  const auto state = random_state<big>();
  const auto x = random_values(2 * big::input_dims.size());
  const ls::inference<big> model(state);
  std::vector<float> y(6);
  std::vector<float> workspace(static_cast<std::size_t>(ls::inference<big>::workspace_size));
  model(x, y, workspace);
  require_close(y, reference_outputs<big>(state, x));
}
