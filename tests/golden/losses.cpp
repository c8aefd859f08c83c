// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/loss.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

// Losses and their gradients against PyTorch's, which generate_losses.py has run.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using exact = ls::reference<double>;

const ls::safetensors_file& golden() {
  static const auto file = golden_file("losses");
  return file;
}

template <class T, class From>
std::vector<T> as(const std::vector<From>& values) {
  return {values.begin(), values.end()};
}

/// The targets of a case, as README.md says.
template <class Loss>
auto targets_of(const Loss& loss, std::uint64_t stream, std::int64_t samples, const ls::dims& output) {
  const std::int64_t n = samples * output.size();
  if constexpr (std::is_same_v<Loss, ls::negative_log_likelihood>) {
    return golden_labels(stream + 1, samples, static_cast<std::uint32_t>(output.size()));
  } else {
    auto values = golden_unit(stream + 1, n);
    bool thirds = std::is_same_v<Loss, ls::binary_cross_entropy_with_logits>;
    if constexpr (std::is_same_v<Loss, ls::kullback_leibler>) {
      thirds = !loss.log_target;
      if (loss.log_target) {
        values = golden_symmetric(stream + 1, n, 3.F);
        for (float& v : values) v -= 3.F;
      }
    }
    if (thirds) {
      const auto kinds = golden_labels(stream + 2, n, 3);
      for (std::size_t i = 0; i < values.size(); ++i)
        if (kinds[i] < 2) values[i] = static_cast<float>(kinds[i]);
    }
    return values;
  }
}

template <class B, class Loss>
void check_case_on(const std::string& name, std::uint64_t stream, std::int64_t samples, const ls::dims& output,
                   const Loss& loss, double tolerance) {
  using value = typename B::value_type;
  using target = typename Loss::template target_type<value>;
  INFO(name << " on " << B::name);
  typename B::context context(1);
  ls::detail::check_options_of(loss, output);
  const auto x = as<value>(golden_symmetric(stream, samples * output.size(), 4.F));
  const auto targets = as<target>(targets_of(loss, stream, samples, output));
  const double denominator = loss.denominator(targets.data(), static_cast<std::int64_t>(targets.size()), output);
  std::vector<value> dx(x.size(), value(NAN));
  const typename Loss::template op<B> op(context, loss);
  const ls::step_values now{.scale = 1 / denominator};
  double sum = 0;
  op.forward_backward(context, samples, output, x.data(), targets.data(), dx.data(), &now, &sum);
  CHECK(is_close(sum / denominator, golden().values_f64(name + "/loss")[0], {.relative = tolerance}));
  CHECK(relative_difference(dx, golden().values_f64(name + "/grad_x")) <= tolerance);
}

int cases = 0;

template <class Loss>
void check_case(const std::string& name, std::uint64_t stream, std::int64_t samples, const ls::dims& output,
                const Loss& loss = {}) {
  check_case_on<exact>(name, stream, samples, output, loss, 1e-12);
  check_case_on<ls::cpu>(name, stream, samples, output, loss, 1e-5);
  ++cases;
}

/// The loss of each element alone. What PyTorch subtracts from something near it is not precise beside `size`.
template <class B, class Loss>
void check_extremes_on(const std::string& name, const Loss& loss, double tolerance) {
  using value = typename B::value_type;
  constexpr double step = std::numeric_limits<value>::epsilon();  // of a gradient whose two parts may cancel
  INFO(name << " on " << B::name);
  typename B::context context(1);
  const typename Loss::template op<B> op(context, loss);
  const ls::step_values now;
  const auto values = golden().values_f64("extremes/" + name + "/values");
  const auto gradients = golden().values_f64("extremes/" + name + "/gradients");
  std::size_t at = 0;
  for (const double size : {0.0, 0x1p-30, 1.0, 16.0, 80.0, 104.0, 720.0, 16384.0})
    for (const double sign : {1.0, -1.0})
      for (const double target : {0.0, 0.25, 1.0}) {
        INFO("output " << sign * size << ", target " << target);
        const auto y = static_cast<value>(sign * size);
        const auto t = static_cast<value>(target);
        value gradient{};
        double sum = 0;
        op.forward_backward(context, 1, ls::dims{1}, &y, &t, &gradient, &now, &sum);
        CHECK(is_close(sum, values.at(at), {.relative = tolerance, .absolute = 1e-15 * size}));
        CHECK(is_close(static_cast<double>(gradient), gradients.at(at), {.relative = tolerance, .absolute = step}));
        ++at;
      }
  CHECK(at == values.size());
}

template <class Loss>
void check_extremes(const std::string& name, const Loss& loss) {
  check_extremes_on<exact>(name, loss, 1e-14);
  check_extremes_on<ls::cpu>(name, loss, 1e-6);
}

// The outputs are pictures, which the CPU's convolutions write in an order of their own.
using painter = ls::sequential<ls::named<"conv1", ls::conv2d<4, 3, ls::padding<1>>>, ls::relu,
                               ls::named<"conv2", ls::conv2d<3, 3>>>;
constexpr std::int64_t batch = 5;

/// Steps on one batch, whose losses PyTorch's exceed by `excess`, and the gradients of the first.
template <class Trainer, class Inputs, class Targets>
void check_steps(const std::string& prefix, Trainer& trainer, const Inputs& x, const Targets& targets, double excess,
                 double tolerance) {
  const auto losses = golden().values_f64(prefix + "/losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(is_close(trainer.step(x, targets) + excess, losses[step], {.relative = tolerance}));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients())
      CHECK(relative_difference(gradient.values(),
                                golden().values_f64(prefix + "/grad/" + std::string(gradient.name()))) <= tolerance);
  }
}

template <class Trainer>
void check_training(const std::string& name, const typename Trainer::loss_type& loss, double tolerance) {
  using value = typename Trainer::value_type;
  INFO(name << ", " << Trainer::replicas << " replicas on " << Trainer::backend_type::name);
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F}, loss);
  start_as_golden(trainer);
  const auto x = as<value>(golden_symmetric(1, batch * 60));
  const auto targets = as<value>(golden_unit(3, batch * 36));
  check_steps("model/" + name, trainer, typename Trainer::input_view(x.data(), batch), targets, 0, tolerance);
}

template <class Loss>
void check_model(const std::string& name, const Loss& loss = {}) {
  using model = ls::model<painter, ls::input<2, 6, 5>, Loss>;
  check_training<ls::data_parallel<model, 1, exact>>(name, loss, 1e-10);
  check_training<ls::data_parallel<model, 3, exact>>(name, loss, 1e-10);
  check_training<ls::data_parallel<model, 1>>(name, loss, 1e-5);
  check_training<ls::data_parallel<model, 3>>(name, loss, 1e-5);
}

using classifier = ls::model<
    ls::sequential<ls::named<"fc1", ls::linear<8>>, ls::relu, ls::named<"fc2", ls::linear<5>>, ls::log_softmax>,
    ls::input<6>, ls::kullback_leibler>;

/// A divergence is smaller than PyTorch's cross entropy by the mean entropy of the targets.
template <class Trainer>
void check_soft_targets(const std::string& name, double smoothing, double tolerance) {
  using value = typename Trainer::value_type;
  INFO(name << ", " << Trainer::replicas << " replicas on " << Trainer::backend_type::name);
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F});
  start_as_golden(trainer);
  const auto x = as<value>(golden_symmetric(1, batch * 6));
  std::vector<value> targets;
  double entropy = 0;
  for (const double given : golden().values_f64("soft_targets/targets")) {
    const double t = (1 - smoothing) * given + smoothing / 5;
    entropy -= t * std::log(t) / static_cast<double>(batch);
    targets.push_back(static_cast<value>(t));
  }
  check_steps("soft_targets/" + name, trainer, x, targets, entropy, tolerance);
}

constexpr ls::dims row{5};
constexpr ls::dims picture{2, 4, 5};
constexpr ls::dims sequence{3, 6};

std::vector<float> weights_of(std::uint64_t stream, std::int64_t n) { return golden_unit(stream + 3, n); }

}  // namespace

TEST_CASE("losses compute what PyTorch computes", "[golden][loss]") {
  using bce = ls::binary_cross_entropy_with_logits;
  cases = 0;
  check_case("l1/plain", 92000, 7, row, ls::l1{});
  check_case("l1/picture", 92100, 3, picture, ls::l1{});
  check_case("smooth_l1/plain", 92200, 7, row, ls::smooth_l1{});
  check_case("smooth_l1/beta", 92300, 3, picture, ls::smooth_l1{.beta = 0.375});
  check_case("smooth_l1/large_beta", 92400, 4, sequence, ls::smooth_l1{.beta = 20});
  check_case("smooth_l1/no_beta", 92500, 7, row, ls::smooth_l1{.beta = 0});
  check_case("huber/plain", 92600, 7, row, ls::huber{});
  check_case("huber/delta", 92700, 3, picture, ls::huber{.delta = 0.375});
  check_case("huber/large_delta", 92800, 4, sequence, ls::huber{.delta = 2.5});
  check_case("binary_cross_entropy/plain", 93000, 7, row, bce{});
  check_case("binary_cross_entropy/picture", 93100, 3, picture, bce{});
  check_case("binary_cross_entropy/one_weight", 93200, 4, sequence, bce{.pos_weight = {2.5F}});
  check_case("binary_cross_entropy/weights", 93300, 7, row, bce{.pos_weight = weights_of(93300, 5)});
  check_case("binary_cross_entropy/weights_of_a_picture", 93400, 3, picture, bce{.pos_weight = weights_of(93400, 40)});
  check_case("kullback_leibler/plain", 94000, 7, row, ls::kullback_leibler{});
  check_case("kullback_leibler/picture", 94100, 3, picture, ls::kullback_leibler{});
  check_case("kullback_leibler/log_target", 94200, 7, row, ls::kullback_leibler{.log_target = true});
  check_case("kullback_leibler/mean", 94300, 4, sequence, ls::kullback_leibler{.mean_of_elements = true});
  using nll = ls::negative_log_likelihood;
  check_case("negative_log_likelihood/plain", 95000, 9, ls::dims{7}, nll{});
  check_case("negative_log_likelihood/weights", 95100, 9, ls::dims{7}, nll{.class_weights = weights_of(95100, 7)});
  check_case("negative_log_likelihood/ignored", 95200, 9, ls::dims{7},
             nll{.class_weights = weights_of(95200, 7), .ignore_index = 2});
  const auto& names = golden().names();
  CHECK(cases == std::count_if(names.begin(), names.end(), [](const std::string& n) { return n.ends_with("/loss"); }));
}

TEST_CASE("losses of outputs of any size are PyTorch's", "[golden][loss]") {
  check_extremes("l1", ls::l1{});
  check_extremes("smooth_l1", ls::smooth_l1{.beta = 0.5});
  check_extremes("huber", ls::huber{.delta = 2});
  check_extremes("binary_cross_entropy", ls::binary_cross_entropy_with_logits{.pos_weight = {3}});
  check_extremes("kullback_leibler", ls::kullback_leibler{});
  check_extremes("log_target", ls::kullback_leibler{.log_target = true});
}

TEST_CASE("a network of pictures trains with each loss as in PyTorch", "[golden][loss]") {
  check_model("l1", ls::l1{});
  check_model("smooth_l1", ls::smooth_l1{.beta = 0.25});
  check_model("huber", ls::huber{.delta = 0.25});
  check_model("binary_cross_entropy", ls::binary_cross_entropy_with_logits{.pos_weight = golden_unit(4, 36)});
  check_model("kullback_leibler", ls::kullback_leibler{});
}

TEST_CASE("probabilities of classes train as with PyTorch's cross entropy", "[golden][loss]") {
  for (const auto& [name, smoothing] : {std::pair{"plain", 0.0}, std::pair{"smoothed", 0.125}}) {
    check_soft_targets<ls::data_parallel<classifier, 1, exact>>(name, smoothing, 1e-10);
    check_soft_targets<ls::data_parallel<classifier, 3>>(name, smoothing, 1e-5);
  }
}
