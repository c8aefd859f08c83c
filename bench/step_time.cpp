// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Measures one case for a given time, or counts its parameters, and prints one line of JSON: what compare.py calls
// between the rounds of its peers.

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "median_step.hpp"
#include "reference_models.hpp"

namespace {

struct request {
  std::string name = "cnn";
  std::string phase = "train";
  int replicas = 1;
  int batch = 64;
  double seconds = 0.5;
  bool counts_parameters = false;
};

template <class F>
void measure(const request& r, const F& step) {
  const lockstep_bench::step_times times = lockstep_bench::time_steps(r.seconds, step);
  std::printf(
      "{\"case\": \"%s\", \"phase\": \"%s\", \"replicas\": %d, \"batch\": %d, \"steps\": %zu, \"median_s\": %.9g}\n",
      r.name.c_str(), r.phase.c_str(), r.replicas, r.batch, times.steps, times.median_s);
}

template <class Model>
void run(const request& r) {
  if (r.counts_parameters) {
    std::printf("{\"case\": \"%s\", \"parameters\": %lld}\n", r.name.c_str(),
                static_cast<long long>(Model::parameter_count));
    return;
  }
  lockstep::with_replicas<1, 2, 4>(r.replicas, [&]<int N>() {
    lockstep::data_parallel<Model, N> trainer{lockstep::sgd{.learning_rate = 0.01F}};
    const lockstep_bench::random_batch<Model> batch(r.batch);
    if (r.phase == "train") {
      measure(r, [&] { trainer.step(batch.images, batch.targets); });
    } else {
      typename decltype(trainer)::output_tensor out(r.batch);
      measure(r, [&] { trainer.forward(batch.images, out.view()); });
    }
  });
}

struct measured_case {
  const char* name;
  void (*run)(const request&);
};

constexpr measured_case cases[] = {
    {"cnn", run<lockstep_bench::cnn>},   {"linear", run<lockstep_bench::linear>},
    {"mlp", run<lockstep_bench::mlp>},   {"lenet", run<lockstep_bench::lenet>},
    {"vgg8", run<lockstep_bench::vgg8>}, {"resnet20", run<lockstep_bench::resnet20>},
};

}  // namespace

int main(int argc, char** argv) {
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
}
