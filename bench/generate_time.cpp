// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Measures `generator` writing one text for a given time, or counts a model's parameters, and prints one line of JSON:
// what compare.py calls between the rounds of its peers. A text is as long as a sample of the model, its prompt is one
// token, and each token that follows is the most likely one.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <CLI/CLI.hpp>

#include <lockstep/generate/generator.hpp>

#include "median_step.hpp"
#include "reference_models.hpp"

namespace {

namespace ls = lockstep;

struct request {
  std::string name = "gpt";
  double seconds = 0.5;
  bool counts_parameters = false;
  bool lists_cases = false;
};

template <class Model>
void run(const request& r) {
  if (r.counts_parameters) {
    std::printf("{\"case\": \"%s\", \"parameters\": %lld}\n", r.name.c_str(),
                static_cast<long long>(Model::parameter_count));
    return;
  }
  ls::generator<Model> writer;
  const std::vector<ls::token_id> prompt{0};
  const std::int64_t count = Model::input_dims[0] - 1;
  const lockstep_bench::step_times times =
      lockstep_bench::time_steps(r.seconds, [&] { benchmark::DoNotOptimize(writer.generate(prompt, count)); });
  std::printf("{\"case\": \"%s\", \"phase\": \"generate\", \"batch\": 1, \"texts\": %zu, \"median_s\": %.9g}\n",
              r.name.c_str(), times.steps, times.median_s / static_cast<double>(count));
}

struct measured_case {
  const char* name;
  void (*run)(const request&);
};

/// Whether every layer can run one row at a time, as a generator asks for.
template <class Model>
constexpr bool runs_by_rows = []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
  return (... && (Model::template leaf<Leaf>::traits.rows != ls::row_rule::mixed));
}(std::make_index_sequence<Model::leaf_count>{});

template <class Model>
void add(std::vector<measured_case>& cases, const char* name) {
  if constexpr (runs_by_rows<Model>) cases.push_back({name, run<Model>});
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<measured_case> cases;
  add<lockstep_bench::gpt>(cases, "gpt");
  add<lockstep_bench::lstm>(cases, "lstm");
  request r;
  CLI::App app{"Times the tokens that one model writes."};
  std::vector<std::string> names;
  for (const measured_case& each : cases) names.emplace_back(each.name);
  app.add_option("--case", r.name)->check(CLI::IsMember(names));
  app.add_option("--seconds", r.seconds)->check(CLI::PositiveNumber);
  app.add_flag("--list", r.lists_cases, "only list the cases");
  app.add_flag("--parameters", r.counts_parameters, "only count the parameters");
  CLI11_PARSE(app, argc, argv);
  if (r.lists_cases) {
    std::printf("{\"cases\": [");
    for (std::size_t i = 0; i < names.size(); ++i) std::printf("%s\"%s\"", i == 0 ? "" : ", ", names[i].c_str());
    std::printf("]}\n");
    return 0;
  }
  try {
    for (const measured_case& each : cases)
      if (r.name == each.name) each.run(r);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
