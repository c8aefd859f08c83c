// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <lockstep/model/executor.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/parameter_layout.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/sequential.hpp>

#include "backend/support.hpp"
#include "support/catch.hpp"

namespace lockstep_test {

/// What a gradient check may vary.
struct settings {
  std::int64_t samples = 3;
  std::uint64_t draws = 1;                    ///< different numbers, different parameters and samples
  ls::step_values now{.seed = 5, .step = 2};  ///< the scale follows from the loss
  bool compare_backends = true;               ///< hold every entry of `backends` against the oracle too
  double lowest_target = -1;                  ///< of targets that are values
  double highest_target = 1;
};

/// One executor of a model on a backend, which speaks PyTorch's order and double precision on the outside.
template <class Model, class B>
class runner {
  using value = typename B::value_type;
  using loss_type = typename Model::loss_type;
  using target = typename loss_type::template target_type<value>;
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  static constexpr std::int64_t parameter_count = plan.parameter_count;

  runner(const loss_type& loss, const doubles& x, const std::vector<double>& targets, const settings& s)
      : executor_({}, loss), settings_(s), x_(x.begin(), x.end()), targets_(targets.begin(), targets.end()) {
    denominator_ =
        loss.denominator(targets_.data(), s.samples * loss.target_size(Model::output_dims), Model::output_dims);
    place_.assign(static_cast<std::size_t>(parameter_count), -1);
    for (int p = 0; p < plan.parameter_tensors; ++p) {
      const ls::plan_parameter& parameter = plan.parameters[static_cast<std::size_t>(p)];
      if (parameter.buffer) continue;
      const std::int64_t start = parameter.offset;
      ls::detail::each_element<Model, B>(p, [&](std::int64_t index, std::int64_t offset) {
        place_.at(static_cast<std::size_t>(start + index)) = offset;
      });
    }
  }

  /// True when every element of the parameters has one place, and every place one element.
  [[nodiscard]] bool layout_is_permutation() const {
    auto sorted = place_;
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t i = 0; i < sorted.size(); ++i)
      if (sorted[i] != static_cast<std::int64_t>(i)) return false;
    return true;
  }

  /// The mean loss at `parameters`; `gradients` are added to when `accumulate`, else overwritten.
  double train(const doubles& parameters, doubles& gradients, bool accumulate) {
    auto flat = to_backend_layout(parameters);
    auto flat_gradients = to_backend_layout(gradients);
    ls::step_values now = settings_.now;
    now.scale = 1 / denominator_;
    const double total = executor_.train(flat.data(), flat_gradients.data(), x_.data(), targets_.data(),
                                         settings_.samples, now, accumulate);
    for (std::size_t i = 0; i < place_.size(); ++i)
      gradients[i] = static_cast<double>(flat_gradients[static_cast<std::size_t>(place_[i])]);
    return total / denominator_;
  }

  /// The outputs without training.
  doubles forward(const doubles& parameters) {
    const auto flat = to_backend_layout(parameters);
    std::vector<value> y(static_cast<std::size_t>(settings_.samples * Model::output_dims.size()), value(poison));
    executor_.forward(flat.data(), x_.data(), settings_.samples, y.data());
    return doubles(y.begin(), y.end());
  }

 private:
  std::vector<value> to_backend_layout(const doubles& torch_order) const {
    std::vector<value> flat(static_cast<std::size_t>(plan.value_count));
    for (std::size_t i = 0; i < place_.size(); ++i)
      flat[static_cast<std::size_t>(place_[i])] = static_cast<value>(torch_order[i]);
    for (const ls::plan_parameter& p : plan.parameters)
      if (p.buffer) std::fill_n(flat.begin() + p.offset, p.shape.size(), static_cast<value>(p.value));
    return flat;
  }

  ls::executor<Model, B> executor_;
  settings settings_;
  std::vector<value> x_;
  std::vector<target> targets_;
  std::vector<std::int64_t> place_;
  double denominator_ = 1;
};

/// Targets for a model's output: classes, each in turn, or values between the settings' lowest and highest.
template <class Model>
doubles make_targets(const settings& s) {
  using loss = typename Model::loss_type;
  if constexpr (std::is_same_v<typename loss::template target_type<double>, std::int64_t>) {
    doubles classes;
    constexpr std::int64_t of_sample = loss::target_size(Model::output_dims);
    for (std::int64_t i = 0; i < s.samples * of_sample; ++i)
      classes.push_back(static_cast<double>((5 * i + 1) % (Model::output_dims.size() / of_sample)));
    return classes;
  } else {
    return uniform(s.samples * Model::output_dims.size(), 1000 + s.draws, s.lowest_target, s.highest_target);
  }
}

/// A gradient beside the central differences of the loss, one for each element of the parameters.
template <class Model, class B>
void check_differences(runner<Model, B>& run, const doubles& parameters, const doubles& gradients) {
  constexpr double h = 1e-5;
  doubles moved = parameters;
  doubles scratch(parameters.size());
  doubles differences;
  for (double& p : moved) {
    const double before = p;
    p = before + h;
    const double up = run.train(moved, scratch, false);
    p = before - h;
    const double down = run.train(moved, scratch, false);
    p = before;
    differences.push_back((up - down) / (2 * h));
  }
  check_close(gradients, differences, 1e-8 * std::max(1.0, largest_magnitude(differences)));
}

/// Poisoned gradients are overwritten, accumulation adds, and a second call gives the same. Returns the gradient.
template <class Model, class B>
doubles check_gradient_buffer(runner<Model, B>& run, const doubles& parameters) {
  const auto n = static_cast<std::int64_t>(parameters.size());
  doubles gradients = filled(n, poison);
  const double loss = run.train(parameters, gradients, false);
  CHECK(std::isfinite(loss));
  REQUIRE(std::isfinite(largest_magnitude(gradients)));

  doubles again = filled(n, infinity);
  CHECK(run.train(parameters, again, false) == loss);
  check_close(again, gradients, 0);

  const double allowed = tolerance<typename B::value_type>(64) * std::max(1.0, largest_magnitude(gradients));
  doubles onto = filled(n, 0);
  CHECK(run.train(parameters, onto, true) == loss);
  check_close(onto, gradients, allowed);
  doubles base = uniform(n, 77);
  doubles sum = base;
  CHECK(run.train(parameters, sum, true) == loss);
  for (std::size_t i = 0; i < sum.size(); ++i) base[i] += gradients[i];
  check_close(sum, base, allowed);
  return gradients;
}

template <class Model, class... B>
void compare_backends(std::type_identity<std::tuple<B...>>, runner<Model, oracle>& exact, const doubles& parameters,
                      const doubles& x, const doubles& targets, const typename Model::loss_type& loss,
                      const settings& s) {
  doubles gradients(parameters.size());
  const double want = exact.train(parameters, gradients, false);
  const double largest = std::max(1.0, largest_magnitude(gradients));
  const auto compare = [&]<class One>(std::type_identity<One>) {
    CAPTURE(One::name);
    const double allowed = tolerance<typename One::value_type>(256);
    runner<Model, One> run(loss, x, targets, s);
    CHECK(run.layout_is_permutation());
    const doubles got = check_gradient_buffer(run, parameters);
    check_close(got, gradients, allowed * largest);
    doubles scratch(parameters.size());
    CHECK(run.train(parameters, scratch, false) == Approx(want).epsilon(allowed).margin(allowed));
    check_close(run.forward(parameters), exact.forward(parameters), allowed * 4);
  };
  (compare(std::type_identity<B>{}), ...);
}

/// Checks a model's gradient with respect to every parameter: in double precision against central differences, and
/// on every backend against that. To check a layer's gradient with respect to its input, put a layer with parameters
/// before it.
template <class Model>
void check_gradients(const typename Model::loss_type& loss = {}, const settings& s = {}) {
  const doubles parameters = uniform(Model::parameter_count, 10 * s.draws);
  const doubles x = uniform(s.samples * Model::input_dims.size(), 10 * s.draws + 1);
  const doubles targets = make_targets<Model>(s);
  runner<Model, oracle> exact(loss, x, targets, s);
  CHECK(exact.layout_is_permutation());
  const doubles gradients = check_gradient_buffer(exact, parameters);
  check_differences(exact, parameters, gradients);
  if (s.compare_backends)
    compare_backends<Model>(std::type_identity<backends>{}, exact, parameters, x, targets, loss, s);
}

/// A model with a mean squared error, which no activation has to be positive for.
template <class Input, class... Layers>
using regression = ls::model<ls::sequential<Layers...>, Input, ls::mean_squared_error>;

}  // namespace lockstep_test
