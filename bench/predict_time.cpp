// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Measures `inference` with one sample for a given time, or counts a model's parameters, and prints one line of JSON:
// what compare.py calls between the rounds of its peers. A call takes nanoseconds, so many are timed as one.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <CLI/CLI.hpp>

#include <lockstep/inference.hpp>

#include "../examples/models/lenet.hpp"

namespace {

namespace ls = lockstep;

template <std::int64_t Size>
using dense = ls::model<ls::sequential<ls::linear<Size, Size>>, ls::input<Size>>;

using mlp8 = ls::model<ls::sequential<ls::linear<8, 64>, ls::relu, ls::linear<64, 64>, ls::relu, ls::linear<64, 1>>,
                       ls::input<8>>;

using lenet = ls::model<models::lenet, ls::input<1, 28, 28>>;

struct request {
  std::string name = "lenet";
  double seconds = 0.5;
  bool counts_parameters = false;
};

struct timing {
  double median_s;
  std::int64_t calls;  ///< that were timed as one
};

/// The median time of a call, over as many runs of calls as fit into `seconds`. A run lasts at least 50 us, next to
/// which reading the clock is nothing.
template <class F>
timing measure(double seconds, const F& call) {
  using clock = std::chrono::steady_clock;
  const auto run = [&](std::int64_t calls) {
    const auto before = clock::now();
    for (std::int64_t i = 0; i < calls; ++i) call();
    return std::chrono::duration<double>(clock::now() - before).count();
  };
  const auto end_of_warm_up = clock::now() + std::chrono::duration<double>(seconds * 0.2);
  std::int64_t calls = 1;
  while (run(calls) < 50e-6) calls *= 2;
  while (clock::now() < end_of_warm_up) run(calls);
  std::vector<double> times;
  const auto end = clock::now() + std::chrono::duration<double>(seconds);
  do times.push_back(run(calls) / static_cast<double>(calls));
  while (clock::now() < end);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return {*middle, calls};
}

/// `count` random floats from -scale to scale.
std::vector<float> random_floats(std::int64_t count, float scale, std::uint64_t seed) {
  const ls::random_stream stream(ls::seed{seed}, ls::random_purpose::synthetic_data);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::uint64_t draw = 0; float& value : values) value = scale * (2 * stream.uniform(draw++) - 1);
  return values;
}

template <class Model>
void run(const request& r) {
  using inference = ls::inference<Model>;
  if (r.counts_parameters) {
    std::printf("{\"case\": \"%s\", \"parameters\": %lld}\n", r.name.c_str(),
                static_cast<long long>(Model::parameter_count));
    return;
  }
  const inference model(random_floats(inference::state_size, 0.1F, 1));
  std::vector<float> sample = random_floats(inference::input_size, 1, 2);
  const timing t = measure(r.seconds, [&] {
    benchmark::DoNotOptimize(sample.data());
    benchmark::DoNotOptimize(model(sample));
    benchmark::ClobberMemory();
  });
  std::printf("{\"case\": \"%s\", \"phase\": \"infer\", \"batch\": 1, \"calls\": %lld, \"median_s\": %.9g}\n",
              r.name.c_str(), static_cast<long long>(t.calls), t.median_s);
}

struct measured_case {
  const char* name;
  void (*run)(const request&);
};

constexpr measured_case cases[] = {
    {"dense16", run<dense<16>>}, {"dense64", run<dense<64>>}, {"mlp8", run<mlp8>}, {"lenet", run<lenet>}};

}  // namespace

int main(int argc, char** argv) {
  request r;
  CLI::App app{"Times predictions of one model, one sample at a time."};
  std::vector<std::string> names;
  for (const measured_case& each : cases) names.emplace_back(each.name);
  app.add_option("--case", r.name)->check(CLI::IsMember(names));
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
