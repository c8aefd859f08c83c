// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/graphs.hpp"
#include "support/message_of.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace golden_lengths {

constexpr std::int64_t rows = 5;
constexpr std::int64_t width = 6;
constexpr std::int64_t classes = 4;
const std::vector<int> lengths{5, 1, 3, 4, 2, 5, 1};

template <class... Layers>
using tagger =
    ls::model<ls::sequential<ls::named<"", ls::from<"rows">>, Layers..., ls::named<"head", ls::linear<classes>>>,
              ls::inputs<ls::named<"rows", ls::input<rows, width>>, ls::named<"length", ls::tokens<1>>>,
              ls::cross_entropy>;
using attention = tagger<ls::named<"attention", ls::multi_head_attention<2, ls::key_lengths<"length">>>>;
using causal = tagger<ls::named<"attention", ls::multi_head_attention<2, ls::causal, ls::key_lengths<"length">>>>;
using encoder =
    tagger<ls::named<"layers", ls::repeat<2, ls::transformer_encoder_layer<width, 3, 8, ls::key_lengths<"length">>>>>;

/// Gives the parameters the streams from 100 on, in the order of their names.
template <class Trainer>
void start(Trainer& trainer) {
  std::vector<std::string> names;
  for (const auto& parameter : trainer.parameters()) names.emplace_back(parameter.name());
  std::sort(names.begin(), names.end());
  for (const auto& parameter : trainer.parameters()) {
    const auto place = std::find(names.begin(), names.end(), parameter.name()) - names.begin();
    parameter.assign(as<typename Trainer::value_type>(
        golden_symmetric(100 + static_cast<std::uint64_t>(place), parameter.size(), 0.5F)));
  }
}

template <class Trainer>
void check_lengths(const std::string& name, double tolerance) {
  using value = typename Trainer::value_type;
  INFO(name << ", " << Trainer::replicas << " replicas");
  static const auto golden = golden_file("lengths");
  Trainer trainer;
  start(trainer);
  const auto x = as<value>(golden_symmetric(1, graph_batch * rows * width));
  auto targets = golden_labels(2, graph_batch * rows, classes);
  auto output = trainer.forward(std::tie(x, lengths));
  for (std::size_t r = 0; r < targets.size(); ++r) {
    if (static_cast<int>(r % rows) < lengths[r / rows]) continue;
    targets[r] = -100;
    std::fill_n(output.data() + r * classes, classes, value{0});
  }
  CHECK(relative_difference(output, golden.values_f64(name + "/output")) <= tolerance);
  trainer.step(std::tie(x, lengths), targets);
  for (const auto& gradient : trainer.gradients()) {
    INFO(gradient.name());
    CHECK(relative_difference(gradient.values(), golden.values_f64(name + "/grad/" + std::string(gradient.name()))) <=
          tolerance);
  }
}

TEST_CASE("attention among samples of different lengths is PyTorch's", "[golden][attention]") {
  check_lengths<ls::data_parallel<attention, 1, ls::reference<double>>>("attention", 1e-10);
  check_lengths<ls::data_parallel<attention, 3>>("attention", 1e-5);
  check_lengths<ls::data_parallel<causal, 2>>("causal", 1e-5);
  check_lengths<ls::data_parallel<encoder, 2>>("encoder", 1e-5);
}

TEST_CASE("a length beyond the rows of a sample is named", "[golden][attention]") {
  ls::data_parallel<attention, 1> trainer;
  const std::vector<float> x(2 * rows * width);
  CHECK(message_of<ls::value_error>([&] {
          (void)trainer.forward(std::tuple(x, std::vector<int>{5, 6}));
        }).find("input length: expected tokens in 0..5, got 6 at position 0 of sample 1") != std::string::npos);
}

}  // namespace golden_lengths
