// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"
#include "models/gpt_block.hpp"
#include "support/tap_layer.hpp"

// Attention and the layers of transformers against PyTorch's, which generate_attention.py has run.

namespace attention_as_golden {

namespace ls = lockstep;
using namespace lockstep_test;

constexpr std::int64_t batch = 3;

/// What learns in front, and changes nothing, makes a gradient go through the tap behind it.
using arriving = tap<20>;
using leaving = tap<21>;
template <ls::dims In, class Layer>
using case_model = ls::model<
    ls::sequential<ls::named<"first", ls::linear<In.extent[1]>>, arriving, ls::named<"layer", Layer>, leaving>,
    ls::input<In.extent[0], In.extent[1]>, ls::mean_squared_error>;

/// Twice as many rows, made of those that arrive.
template <std::int64_t Width>
using memory = ls::named<"memory", ls::concat<ls::identity, ls::named<"fc", ls::linear<Width>>>>;

const ls::safetensors_file& golden() {
  static const auto file = golden_file("attention");
  return file;
}

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

/// A parameter's name inside of the layer; empty for one of another layer.
std::string inner_name(const auto& parameter) {
  const std::string name(parameter.name());
  return name.starts_with("layer.") ? name.substr(6) : std::string();
}

/// Gives the layer's parameters the streams from `stream` on, in the order of their names.
template <class Trainer>
void start(Trainer& trainer, std::int64_t features, const std::string& name, std::uint64_t stream) {
  using value = typename Trainer::value_type;
  std::vector<std::string> names;
  for (const auto& parameter : trainer.parameters())
    if (const auto own = inner_name(parameter); !own.empty()) names.push_back(own);
  std::sort(names.begin(), names.end());
  for (const auto& parameter : trainer.parameters()) {
    std::vector<value> values(static_cast<std::size_t>(parameter.size()));
    if (const auto own = inner_name(parameter); !own.empty()) {
      const auto place = std::find(names.begin(), names.end(), own) - names.begin();
      values = as<value>(golden_symmetric(stream + static_cast<std::uint64_t>(place), parameter.size()));
      // Extents as PyTorch has them.
      const auto& extents = golden().at(name + "/grad/" + own).shape;
      const ls::dims shape = parameter.shape();
      CHECK(std::equal(extents.begin(), extents.end(), shape.extent, shape.extent + shape.rank));
    } else if (parameter.name() == "first.weight") {
      for (std::int64_t i = 0; i < features; ++i) values[static_cast<std::size_t>(i * features + i)] = 1;
    }
    parameter.assign(values);
  }
}

template <ls::dims In, class Layer, class B>
void check_layer_on(const std::string& name, std::uint64_t stream, double tolerance) {
  using model = case_model<In, Layer>;
  using value = typename B::value_type;
  INFO(name << " on " << B::name);
  ls::data_parallel<model, 1, B> trainer({.learning_rate = 0});
  start(trainer, In.extent[1], name, stream + 20);
  const auto check = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64(name + "/" + what)) <= tolerance);
  };
  const auto x = as<value>(golden_symmetric(stream, batch * In.size()));
  const typename decltype(trainer)::input_view view(x.data(), batch);
  check("output", trainer.forward(view));
  arriving::forget();
  leaving::forget();
  static_cast<void>(trainer.step(view, as<value>(golden_symmetric(stream + 10, batch * model::output_dims.size()))));
  check("output", leaving::values);
  check("grad_x", arriving::gradients);
  std::ptrdiff_t gradients = 0;
  for (const auto& gradient : trainer.gradients())
    if (const auto own = inner_name(gradient); !own.empty()) {
      check("grad/" + own, gradient.values());
      ++gradients;
    }
  const auto& names = golden().names();
  CHECK(gradients == std::count_if(names.begin(), names.end(),
                                   [&](const std::string& each) { return each.starts_with(name + "/grad/"); }));
}

template <ls::dims In, class Layer>
void check_layer(const std::string& name, std::uint64_t stream) {
  check_layer_on<In, Layer, ls::cpu>(name, stream, 1e-5);
}

}  // namespace attention_as_golden

TEST_CASE("attention computes what scaled_dot_product_attention does", "[golden][attention]") {
  using namespace attention_as_golden;
  check_layer<ls::dims{5, 18}, ls::packed_attention<2>>("packed/two_heads", 97000);
  check_layer<ls::dims{7, 12}, ls::packed_attention<4, ls::causal>>("packed/causal", 97100);
  check_layer<ls::dims{90, 12}, ls::packed_attention<1, ls::causal>>("packed/long", 97200);
}

TEST_CASE("multi_head_attention computes what MultiheadAttention does", "[golden][attention]") {
  using namespace attention_as_golden;
  check_layer<ls::dims{5, 6}, ls::multi_head_attention<2>>("multi_head/plain", 97300);
  check_layer<ls::dims{6, 9}, ls::multi_head_attention<3, ls::causal>>("multi_head/causal", 97400);
  check_layer<ls::dims{4, 10}, ls::multi_head_attention<1, ls::no_bias>>("multi_head/no_bias", 97500);
}

TEST_CASE("cross_attention computes what MultiheadAttention does with a memory", "[golden][attention]") {
  using namespace attention_as_golden;
  check_layer<ls::dims{4, 6}, ls::cross_attention<6, 2, 4, memory<6>>>("cross/plain", 98200);
  check_layer<ls::dims{1, 8}, ls::cross_attention<8, 4, 1, memory<8>, ls::no_bias>>("cross/no_bias", 98300);
}

TEST_CASE("transformer_decoder_layer computes what TransformerDecoderLayer does", "[golden][attention]") {
  using namespace attention_as_golden;
  check_layer<ls::dims{5, 6}, ls::transformer_decoder_layer<6, 2, 11, 5, memory<6>, ls::causal>>("decoder/after",
                                                                                                 98400);
  check_layer<ls::dims{4, 8},
              ls::transformer_decoder_layer<8, 2, 9, 4, memory<8>, ls::causal, ls::norm_first, ls::gelu<>>>(
      "decoder/first", 98500);
}

TEST_CASE("the attention and the block of GPT-2", "[golden][attention]") {
  using namespace attention_as_golden;
  check_layer<ls::dims{6, 8}, ls::causal_self_attention<2>>("gpt2/attention", 97600);
  check_layer<ls::dims{6, 8}, models::gpt_block::block<8, 4>>("gpt2/block", 97700);
}

TEST_CASE("transformer_encoder_layer computes what TransformerEncoderLayer does", "[golden][attention]") {
  using namespace attention_as_golden;
  check_layer<ls::dims{5, 6}, ls::transformer_encoder_layer<6, 2, 11>>("encoder/after", 97800);
  check_layer<ls::dims{5, 6}, ls::transformer_encoder_layer<6, 3, 11, ls::norm_first>>("encoder/first", 97900);
  check_layer<ls::dims{5, 6}, ls::transformer_encoder_layer<6, 2, 11, ls::gelu<>, ls::epsilon<0.125>>>("encoder/gelu",
                                                                                                       98000);
  check_layer<ls::dims{5, 8}, ls::transformer_encoder_layer<8, 2, 9, ls::causal, ls::no_bias, ls::norm_first>>(
      "encoder/causal", 98100);
  check_layer_on<ls::dims{5, 6}, ls::transformer_encoder_layer<6, 2, 11>, ls::reference<double>>("encoder/after", 97800,
                                                                                                 1e-10);
}
