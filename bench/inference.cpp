// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A prediction of small models: `inference`, which is a function on the caller's thread, for one sample and for
// sixteen, and `predictor`, which serves requests of many threads.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include <lockstep/inference.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "../examples/models/lenet.hpp"

namespace {

namespace ls = lockstep;

template <std::int64_t Size>
using dense = ls::model<ls::sequential<ls::linear<Size, Size>>, ls::input<Size>>;

template <class Activation>
using mlp = ls::model<ls::sequential<ls::linear<8, 64>, Activation, ls::linear<64, 64>, Activation, ls::linear<64, 1>>,
                      ls::input<8>>;

using lenet = ls::model<models::lenet, ls::input<1, 28, 28>>;

/// Random samples, and the parameters that a trainer begins with.
template <class Model>
struct setting {
  explicit setting(std::int64_t samples)
      : x(static_cast<std::size_t>(samples * Model::input_dims.size())),
        y(static_cast<std::size_t>(samples * Model::output_dims.size())) {
    const ls::random_stream stream(ls::seed{1}, ls::random_purpose::synthetic_data);
    std::uint64_t draw = 0;
    for (float& value : x) value = stream.uniform(draw++);
  }

  const ls::predictor<Model, 1> server;
  std::vector<float> x;
  std::vector<float> y;
};

template <class Model>
void infer(benchmark::State& state) {
  const setting<Model> s(1);
  const ls::inference<Model> model(s.server);
  for (auto _ : state) {
    benchmark::DoNotOptimize(s.x.data());
    benchmark::DoNotOptimize(model(s.x));
    benchmark::ClobberMemory();
  }
}

template <class Model>
void infer_batch(benchmark::State& state) {
  setting<Model> s(state.range(0));
  const ls::inference<Model> model(s.server);
  for (auto _ : state) {
    benchmark::DoNotOptimize(s.x.data());
    model(s.x, s.y);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

template <class Model>
void predict(benchmark::State& state) {
  const setting<Model> s(1);
  for (auto _ : state) benchmark::DoNotOptimize(s.server.predict(s.x).data());
}

}  // namespace

BENCHMARK(infer<dense<16>>);
BENCHMARK(infer<dense<64>>);
BENCHMARK(infer<mlp<ls::relu>>);
BENCHMARK(infer<mlp<ls::tanh>>);
BENCHMARK(infer<lenet>);
BENCHMARK(infer_batch<dense<16>>)->Arg(16);
BENCHMARK(infer_batch<dense<64>>)->Arg(16);
BENCHMARK(infer_batch<mlp<ls::relu>>)->Arg(16);
BENCHMARK(infer_batch<mlp<ls::tanh>>)->Arg(16);
BENCHMARK(infer_batch<lenet>)->Arg(16);
BENCHMARK(predict<dense<16>>)->UseRealTime();
BENCHMARK(predict<mlp<ls::relu>>)->UseRealTime();
BENCHMARK(predict<lenet>)->UseRealTime();

BENCHMARK_MAIN();
