// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"
#include "support/tap_layer.hpp"

// lstm, gru and rnn against PyTorch's, which generate_recurrent.py has run.

namespace recurrent_golden {

namespace ls = lockstep;
using namespace lockstep_test;

using arriving = tap<0>;
using leaving = tap<1>;

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

const ls::safetensors_file& golden() {
  static const auto file = golden_file("recurrent");
  return file;
}

/// What learns in front, and changes nothing, makes a gradient go through `arriving`.
template <std::int64_t Steps, std::int64_t Features, class Recurrent>
using case_model =
    ls::model<ls::sequential<ls::named<"first", ls::linear<Features>>, arriving, ls::named<"rnn", Recurrent>, leaving>,
              ls::input<Steps, Features>, ls::mean_squared_error>;

template <std::int64_t Steps, std::int64_t Features, std::int64_t Hidden, class Recurrent, class B>
void check_on(const std::string& name, std::uint64_t stream, std::int64_t samples, double tolerance) {
  using model = case_model<Steps, Features, Recurrent>;
  using value = typename B::value_type;
  INFO(name << " on " << B::name);
  ls::data_parallel<model, 1, B> trainer({.learning_rate = 0});
  std::uint64_t draw = stream + 20;
  for (const auto& parameter : trainer.parameters()) {
    if (parameter.name().starts_with("first")) {
      std::vector<value> values(static_cast<std::size_t>(parameter.size()));
      if (parameter.name() == "first.weight")
        for (std::size_t c = 0; c < Features; ++c) values[c * Features + c] = 1;
      parameter.assign(values);
      continue;
    }
    parameter.assign(as<value>(golden_symmetric(draw++, parameter.size(), fan_in_bound(Hidden))));
    // PyTorch's names, in its order of draws, and its extents.
    const std::string gradient = name + "/grad_" + std::string(parameter.name().substr(4));
    REQUIRE(golden().contains(gradient));
    const auto& extents = golden().at(gradient).shape;
    const ls::dims own = parameter.shape();
    CHECK(std::equal(extents.begin(), extents.end(), own.extent, own.extent + own.rank));
  }
  const auto check = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64(name + "/" + what)) <= tolerance);
  };
  const auto x = as<value>(golden_symmetric(stream, samples * Steps * Features));
  const typename decltype(trainer)::input_view view(x.data(), samples);
  check("output", trainer.forward(view));
  arriving::forget();
  leaving::forget();
  static_cast<void>(trainer.step(view, as<value>(golden_symmetric(stream + 10, samples * model::output_dims.size()))));
  check("output", leaving::values);
  check("grad_x", arriving::gradients);
  std::uint64_t tensors = 0;
  for (const auto& gradient : trainer.gradients()) {
    if (!gradient.name().starts_with("rnn")) continue;
    check("grad_" + std::string(gradient.name().substr(4)), gradient.values());
    ++tensors;
  }
  CHECK(tensors == draw - stream - 20);
}

template <std::int64_t Steps, std::int64_t Features, std::int64_t Hidden,
          template <std::int64_t, class...> class Module, class... Options>
void check(const std::string& name, std::uint64_t stream, std::int64_t samples) {
  check_on<Steps, Features, Hidden, Module<Hidden, Options...>, ls::cpu>(name, stream, samples, 1e-5);
}
/// The definition, where a case holds all there is to a module.
template <std::int64_t Steps, std::int64_t Features, std::int64_t Hidden,
          template <std::int64_t, class...> class Module, class... Options>
void check_definition(const std::string& name, std::uint64_t stream, std::int64_t samples) {
  check_on<Steps, Features, Hidden, Module<Hidden, Options...>, ls::reference<double>>(name, stream, samples, 1e-10);
}

using both = ls::bidirectional;
template <int N>
using layers = ls::layers<N>;

using tagger = ls::model<ls::sequential<ls::named<"lstm", ls::lstm<12, layers<2>>>, ls::named<"head", ls::linear<4>>>,
                         ls::input<6, 3>, ls::mean_squared_error>;

template <class Trainer>
void check_training(double tolerance) {
  using value = typename Trainer::value_type;
  constexpr std::int64_t batch = 5;
  INFO(Trainer::replicas << " replicas");
  Trainer trainer(ls::sgd{.learning_rate = 0.25F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  std::uint64_t stream = 100;
  for (const auto& parameter : trainer.parameters()) {
    REQUIRE(golden().contains("tagger/grad/" + std::string(parameter.name())));
    parameter.assign(as<value>(golden_symmetric(stream++, parameter.size(), fan_in_bound(12))));
  }
  const auto x = as<value>(golden_symmetric(1, batch * tagger::input_dims.size()));
  const auto targets = as<value>(golden_symmetric(3, batch * tagger::output_dims.size()));
  const typename Trainer::input_view view(x.data(), batch);
  const auto check_values = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64("tagger/" + what)) <= tolerance);
  };
  check_values("output", trainer.forward(view));
  const auto losses = golden().values_f64("tagger/losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(view, targets), losses[step], tolerance));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients())
      check_values("grad/" + std::string(gradient.name()), gradient.values());
  }
  for (const auto& parameter : trainer.parameters())
    check_values("trained/" + std::string(parameter.name()), parameter.values());
}

using carrying = ls::carry_state;
using carried_tagger =
    ls::model<ls::sequential<ls::named<"lstm", ls::lstm<12, layers<2>, carrying>>, ls::named<"head", ls::linear<4>>>,
              ls::input<6, 3>, ls::mean_squared_error>;
using carried_mix = ls::model<ls::sequential<ls::named<"gru", ls::gru<12, carrying>>,
                                             ls::named<"rnn", ls::rnn<7, carrying>>, ls::named<"head", ls::linear<4>>>,
                              ls::input<6, 3>, ls::mean_squared_error>;

/// Three steps of five samples, and two of four, which begin with zeros again.
template <class Trainer>
void check_carried(const std::string& name, double tolerance) {
  using value = typename Trainer::value_type;
  using model = typename Trainer::model_type;
  INFO(name << " on " << Trainer::replicas << " replicas");
  Trainer trainer(ls::sgd{.learning_rate = 0.25F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  std::uint64_t stream = 100;
  for (const auto& parameter : trainer.parameters())
    parameter.assign(as<value>(golden_symmetric(stream++, parameter.size(), fan_in_bound(12))));
  const auto losses = golden().values_f64(name + "/losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    const std::int64_t samples = step < 3 ? 5 : 4;
    if (step == 3) trainer.reset_states();
    const auto x = as<value>(golden_symmetric(300 + step, samples * model::input_dims.size()));
    const auto targets = as<value>(golden_symmetric(400 + step, samples * model::output_dims.size()));
    CHECK(same_loss(trainer.step(typename Trainer::input_view(x.data(), samples), targets), losses[step], tolerance));
    for (const auto& gradient : trainer.gradients()) {
      if (step != 2 && step != 3) break;
      const std::string tensor = name + "/grad_" + std::to_string(step) + "/" + std::string(gradient.name());
      INFO(tensor);
      CHECK(relative_difference(gradient.values(), golden().values_f64(tensor)) <= tolerance);
    }
  }
  for (const auto& parameter : trainer.parameters()) {
    const std::string tensor = name + "/trained/" + std::string(parameter.name());
    INFO(tensor);
    CHECK(relative_difference(parameter.values(), golden().values_f64(tensor)) <= tolerance);
  }
}

TEST_CASE("lstm computes what LSTM does", "[golden][recurrent]") {
  check<1, 4, 5, ls::lstm>("lstm/one_step", 200000, 3);
  check<7, 3, 19, ls::lstm>("lstm/steps", 200100, 5);
  check<5, 6, 24, ls::lstm>("lstm/wide", 200200, 4);
  check<60, 2, 8, ls::lstm>("lstm/long", 200300, 2);
  check<6, 4, 9, ls::lstm, layers<3>>("lstm/layers", 200400, 3);
  check<6, 4, 9, ls::lstm, layers<2>, both>("lstm/both", 200500, 3);
  check_definition<6, 4, 9, ls::lstm, layers<2>, both>("lstm/both", 200500, 3);
  check<6, 4, 9, ls::lstm, ls::last_state, layers<2>>("lstm/last", 200600, 3);
  check<6, 4, 9, ls::lstm, layers<2>, both, ls::last_state, ls::no_bias>("lstm/both_last", 200700, 3);
}

TEST_CASE("gru computes what GRU does", "[golden][recurrent]") {
  check<1, 4, 5, ls::gru>("gru/one_step", 201000, 3);
  check<7, 3, 19, ls::gru>("gru/steps", 201100, 5);
  check<6, 4, 9, ls::gru, layers<2>, both>("gru/both", 201200, 3);
  check_definition<6, 4, 9, ls::gru, layers<2>, both>("gru/both", 201200, 3);
  check<6, 4, 9, ls::gru, layers<2>, both, ls::last_state, ls::no_bias>("gru/both_last", 201300, 3);
}

TEST_CASE("rnn computes what RNN does", "[golden][recurrent]") {
  check<7, 3, 19, ls::rnn>("rnn/steps", 202000, 5);
  check_definition<7, 3, 19, ls::rnn>("rnn/steps", 202000, 5);
  check<7, 3, 19, ls::rnn, ls::relu>("rnn/relu", 202100, 5);
  check_definition<7, 3, 19, ls::rnn, ls::relu>("rnn/relu", 202100, 5);
  check<6, 4, 9, ls::rnn, layers<2>, both, ls::last_state, ls::no_bias>("rnn/both_last", 202200, 3);
}

TEST_CASE("a network of lstm trains as in PyTorch", "[golden][recurrent]") {
  check_training<ls::data_parallel<tagger, 1, ls::reference<double>>>(1e-10);
  check_training<ls::data_parallel<tagger, 1>>(1e-5);
  check_training<ls::data_parallel<tagger, 3>>(1e-5);
}

TEST_CASE("states are carried from step to step as PyTorch carries detached ones", "[golden][recurrent]") {
  check_carried<ls::data_parallel<carried_tagger, 1, ls::reference<double>>>("carried/lstm", 1e-10);
  check_carried<ls::data_parallel<carried_tagger, 1>>("carried/lstm", 1e-5);
  check_carried<ls::data_parallel<carried_tagger, 3>>("carried/lstm", 1e-5);
  check_carried<ls::data_parallel<carried_mix, 1, ls::reference<double>>>("carried/mixed", 1e-10);
  check_carried<ls::data_parallel<carried_mix, 2>>("carried/mixed", 1e-5);
}

}  // namespace recurrent_golden
