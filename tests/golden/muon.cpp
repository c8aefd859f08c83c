// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/optim/muon.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

// Wide and high matrices; on the CPU, weights in three orders.
using net = ls::sequential<ls::named<"conv", ls::conv2d<6, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                           ls::named<"a", ls::linear<20>>, ls::relu, ls::named<"b", ls::linear<28>>, ls::relu,
                           ls::named<"head", ls::linear<5>>>;
using classifier = ls::model<net, ls::input<2, 4, 4>, ls::cross_entropy>;
using exact = ls::reference<double>;
constexpr std::int64_t samples = 24;
constexpr ls::adamw rest{.learning_rate = 3e-3, .weight_decay = 0.02};

const ls::safetensors_file& golden() {
  static const auto file = golden_file("muon");
  return file;
}

/// Trains 20 steps as PyTorch has done.
template <class Trainer, class Optimizer>
void check_training(const std::string& name, const Optimizer& optimizer, double tolerance,
                    const ls::trainer_options& options = {}) {
  INFO(name << ", " << Trainer::replicas << " replicas");
  using value = typename Trainer::value_type;
  Trainer trainer(optimizer, {}, options);
  std::uint64_t stream = 100;
  std::int64_t inputs = 0;
  for (const auto& parameter : trainer.parameters()) {
    if (parameter.shape().rank > 1) inputs = parameter.size() / parameter.shape()[0];
    const auto drawn = golden_symmetric(stream++, parameter.size(), fan_in_bound(inputs));
    parameter.assign(std::vector<value>(drawn.begin(), drawn.end()));
  }
  const auto drawn = golden_unit(1, samples * classifier::input_dims.size());
  const std::vector<value> values(drawn.begin(), drawn.end());
  const typename Trainer::input_view x(values.data(), samples);
  const auto targets = golden_labels(2, samples, 5);
  const auto losses = golden().values_f64(name + "/losses");
  REQUIRE(losses.size() == 20);
  for (const double loss : losses) CHECK(same_loss(trainer.step(x, targets), loss, tolerance));
  for (const auto& parameter : trainer.parameters()) {
    INFO(parameter.name());
    CHECK(relative_difference(parameter.values(), golden().values_f64(name + "/" + std::string(parameter.name()))) <=
          tolerance);
  }
}

/// On any number of replicas, and on each way to the update: in one pass, after a look at the norm of the sums, and
/// from sums that are clipped.
template <class Optimizer, class... Policies>
void check_case(const std::string& name, const Optimizer& optimizer) {
  CHECK_NOTHROW(optimizer.check_options());
  check_training<ls::data_parallel<classifier, 1, exact, Optimizer, Policies...>>(name, optimizer, 1e-11);
  check_training<ls::data_parallel<classifier, 2, exact, Optimizer, Policies...>>(name, optimizer, 1e-11,
                                                                                  {.max_value = 1e6});
  check_training<ls::data_parallel<classifier, 3, exact, Optimizer, Policies...>>(name, optimizer, 1e-11,
                                                                                  {.max_norm = 1e6});
  check_training<ls::data_parallel<classifier, 4, exact, Optimizer, Policies...>>(name, optimizer, 1e-11);
  // The iteration makes the smallest singular values up to 3.4445^5 times as large, and with them the rounding errors.
  check_training<ls::data_parallel<classifier, 3, Optimizer, Policies...>>(name, optimizer, 1e-3);
}

}  // namespace

TEST_CASE("muon trains as PyTorch's, in the precision of the parameters", "[golden][optimizer]") {
  check_case("default", ls::muon{.learning_rate = 0.02, .rest = rest});
  check_case("options", ls::muon{.learning_rate = 0.01,
                                 .weight_decay = 0.3,
                                 .momentum = 0.8,
                                 .nesterov = false,
                                 .coefficients = {3.0, -3.2, 1.2},
                                 .eps = 0.5,
                                 .iterations = 3,
                                 .adjust = ls::muon_rate::match_rms_adamw,
                                 .rest = rest});
}

TEST_CASE("muon takes the matrices that it is told to", "[golden][optimizer]") {
  using hidden = ls::muon_for<ls::all_but<ls::matrices, ls::like<"head.*">>>;
  check_case("without_head", hidden{.learning_rate = 0.02, .adjust = ls::muon_rate::spectral_unclamped, .rest = rest});
  using kernels = ls::muon_for<ls::matrices_and_kernels>;
  check_case("kernels", kernels{.learning_rate = 0.02, .adjust = ls::muon_rate::match_rms_adamw, .rest = rest});
}

TEST_CASE("groups change the options of both of muon's optimizers", "[golden][optimizer]") {
  using groups = ls::parameter_groups<
      ls::parameter_group<ls::like<"a.*">, ls::learning_rate_times<1, 2>, ls::weight_decay_times<0>>>;
  check_case<ls::muon, groups>("groups", ls::muon{.learning_rate = 0.02, .rest = rest});
}
