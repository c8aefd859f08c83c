// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdio>
#include <exception>
#include <string>
#include <type_traits>
#include <vector>

#include <CLI/CLI.hpp>

#include "median_step.hpp"
#include "reference_models.hpp"

/// \file
/// Programs that measure one case for a given time, or count its parameters, and print one line of JSON: what
/// compare.py calls between the rounds of its peers.

namespace lockstep_bench {

struct request {
  std::string name = "cnn";
  std::string phase = "train";
  int replicas = 1;
  int batch = 64;
  double seconds = 0.5;
  bool counts_parameters = false;
};

template <class F>
void measure(const request& r, const char* optimizer, const F& step) {
  const step_times times = time_steps(r.seconds, step);
  std::printf(
      "{\"case\": \"%s\", \"phase\": \"%s\", \"optimizer\": \"%s\", \"replicas\": %d, \"batch\": %d, \"steps\": %zu, "
      "\"median_s\": %.9g}\n",
      r.name.c_str(), r.phase.c_str(), optimizer, r.replicas, r.batch, times.steps, times.median_s);
}

/// The learning rates are those of torch_reference.py; all other options are PyTorch's defaults.
template <class Optimizer>
constexpr Optimizer reference_optimizer() {
  if constexpr (std::is_same_v<Optimizer, lockstep::adamw>)
    return {.learning_rate = 0.001};
  else
    return {.learning_rate = 0.01F};
}

template <class Model, class Precision, class Optimizer = lockstep::sgd>
void run(const request& r) {
  if (r.counts_parameters) {
    std::printf("{\"case\": \"%s\", \"parameters\": %lld}\n", r.name.c_str(),
                static_cast<long long>(Model::parameter_count));
    return;
  }
  lockstep::with_replicas<1, 2, 4>(r.replicas, [&]<int N>() {
    lockstep::data_parallel<Model, N, Precision, Optimizer> trainer{reference_optimizer<Optimizer>()};
    const random_batch<Model> batch(r.batch);
    if (r.phase == "train") {
      measure(r, Optimizer::kind, [&] { trainer.step(batch.images, batch.targets); });
    } else {
      typename decltype(trainer)::output_tensor out(r.batch);
      measure(r, Optimizer::kind, [&] { trainer.forward(batch.images, out.view()); });
    }
  });
}

struct measured_case {
  const char* name;
  void (*run)(const request&);
};

/// The program: trainers of that precision, of the cases of pictures and rows, and of `more`.
template <class Precision>
int time_case(int argc, char** argv, const std::vector<measured_case>& more = {}) {
  std::vector<measured_case> cases{
      {"cnn", run<cnn, Precision>},     {"linear", run<linear, Precision>}, {"mlp", run<mlp, Precision>},
      {"lenet", run<lenet, Precision>}, {"vgg8", run<vgg8, Precision>},     {"resnet20", run<resnet20, Precision>},
  };
  cases.insert(cases.end(), more.begin(), more.end());
  request r;
  CLI::App app{"Times one case of lockstep."};
  std::vector<std::string> names;
  for (const measured_case& each : cases) names.emplace_back(each.name);
  app.add_option("--case", r.name)->check(CLI::IsMember(names));
  app.add_option("--phase", r.phase)->check(CLI::IsMember({"train", "infer"}));
  app.add_option("--replicas", r.replicas);
  app.add_option("--batch", r.batch)->check(CLI::PositiveNumber);
  app.add_option("--seconds", r.seconds)->check(CLI::PositiveNumber);
  app.add_flag("--parameters", r.counts_parameters, "only count the parameters");
  CLI11_PARSE(app, argc, argv);
  try {
    for (const measured_case& each : cases)
      if (r.name == each.name) each.run(r);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
  return 0;
}

}  // namespace lockstep_bench
