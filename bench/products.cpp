// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The products that the reference models spend their time in, on one core: forward, the gradient of the weights and
// that of the input, in FLOPs a second. The linear ones stand beside oneDNN's general matrix product of the same
// extents, which packs its operands at every call; convolutions beside oneDNN's direct ones (`onednn`), and count the
// FLOPs of a direct one whatever they do. Batches are those of a replica's micro-shard.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/core/tensor.hpp>

namespace {

namespace ls = lockstep;

enum class product { forward, weight_gradient, input_gradient };

constexpr const char* name_of(product which) {
  switch (which) {
    case product::forward:
      return "forward";
    case product::weight_gradient:
      return "weight_gradient";
    default:
      return "input_gradient";
  }
}

ls::aligned_buffer<float> numbers(std::int64_t size) {
  ls::aligned_buffer<float> all(size);
  for (std::int64_t i = 0; i < size; ++i)
    all.data()[i] = static_cast<float>((i * 2654435761) >> 8 & 0xffff) / 65536.F - 0.5F;
  return all;
}

void count(benchmark::State& state, std::int64_t flops) {
  state.counters["FLOPS"] =
      benchmark::Counter(static_cast<double>(flops), benchmark::Counter::kIsIterationInvariantRate);
}

constexpr ls::linear_geometry only(ls::linear_geometry g, product which) {
  g.bias = g.bias && which == product::forward;
  g.parameter_gradient = which == product::weight_gradient;
  g.input_gradient = which == product::input_gradient;
  return g;
}

template <ls::linear_geometry G, product Which>
void linear(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  ls::cpu::context c;
  const auto entered = c.enter();
  ls::cpu::linear<only(G, Which)> op(c, n);
  auto x = numbers(n * G.in);
  const auto w = numbers(G.in * G.out);
  const auto b = numbers(G.out);
  auto y = numbers(n * G.out);
  auto dw = numbers(G.in * G.out);
  auto dx = numbers(n * G.in);
  for (auto _ : state) {
    if constexpr (Which == product::forward)
      op.forward(c, x.data(), w.data(), b.data(), y.data());
    else
      op.backward(c, x.data(), y.data(), w.data(), dx.data(), dw.data(), nullptr, false);
    benchmark::ClobberMemory();
  }
  count(state, 2 * n * G.in * G.out);
}

template <ls::linear_geometry G, product Which>
void sgemm(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const ls::cpu::context c;
  const auto entered = c.enter();
  auto x = numbers(n * G.in);
  auto w = numbers(G.in * G.out);
  auto y = numbers(n * G.out);
  for (auto _ : state) {
    if constexpr (Which == product::forward)
      ls::onednn::sgemm('N', 'T', n, G.out, G.in, x.data(), G.in, w.data(), G.in, 0.F, y.data());
    else if constexpr (Which == product::weight_gradient)
      ls::onednn::sgemm('T', 'N', G.out, G.in, n, y.data(), G.out, x.data(), G.in, 0.F, w.data());
    else
      ls::onednn::sgemm('N', 'N', n, G.in, G.out, y.data(), G.out, w.data(), G.in, 0.F, x.data());
    benchmark::ClobberMemory();
  }
  count(state, 2 * n * G.in * G.out);
}

/// `Primitive` is the backend's convolution<G>, or oneDNN's alone.
template <ls::convolution_geometry G, class Primitive, product Which>
void convolution(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  ls::cpu::context c;
  const auto entered = c.enter();
  Primitive op = [&] {
    if constexpr (std::is_constructible_v<Primitive, ls::cpu::context&, std::int64_t>)
      return Primitive(c, n);
    else
      return Primitive(c, G, n, ls::cpu_backend::weight_order::tap_major);
  }();
  c.loaded();  // as a step does, after which weights are transformed once
  const auto x = numbers(n * G.in_size());
  const auto w = numbers(G.weight_size());
  const auto b = numbers(G.out_channels);
  auto y = numbers(n * G.out_size());
  auto dx = numbers(n * G.in_size());
  auto dw = numbers(G.weight_size());
  auto db = numbers(G.out_channels);
  for (auto _ : state) {
    if constexpr (Which == product::forward)
      op.forward(c, x.data(), w.data(), b.data(), y.data());
    else
      op.backward(c, x.data(), y.data(), w.data(), dx.data(), dw.data(), db.data(), false);
    benchmark::ClobberMemory();
  }
  count(state, 2 * n * G.weight_size() * G.out().height * G.out().width);
}

constexpr ls::convolution_geometry only(ls::convolution_geometry g, product which) {
  g.parameter_gradient = which == product::weight_gradient;
  g.input_gradient = which == product::input_gradient;
  return g;
}

/// All passes of one convolution, by the backend and by oneDNN. A network's first has no input gradient.
template <ls::convolution_geometry G>
void register_convolution(const std::string& network, std::int64_t samples) {
  const std::string shape = network + "/" + std::to_string(G.in_channels) + "x" + std::to_string(G.in.height) + "to" +
                            std::to_string(G.out_channels) + "k" + std::to_string(G.kernel.height) + "/";
  const auto add = [&]<product Which>() {
    constexpr ls::convolution_geometry g = only(G, Which);
    const std::string pass = shape + name_of(Which);
    benchmark::RegisterBenchmark(("convolution/" + pass).c_str(), &convolution<g, ls::cpu::convolution<g>, Which>)
        ->ArgName("samples")
        ->Arg(samples);
    benchmark::RegisterBenchmark(("onednn/" + pass).c_str(),
                                 &convolution<g, ls::cpu_backend::direct_convolution_runner, Which>)
        ->ArgName("samples")
        ->Arg(samples);
  };
  add.template operator()<product::forward>();
  add.template operator()<product::weight_gradient>();
  if (G.input_gradient) add.template operator()<product::input_gradient>();
}

constexpr ls::convolution_geometry same_size(std::int64_t in, std::int64_t size, std::int64_t out) {
  return {.in_channels = in, .in = size, .out_channels = out, .kernel = 3, .padding = 1, .input_gradient = in > 3};
}

template <ls::linear_geometry G>
void register_linear(std::int64_t samples) {
  const auto add = [&](const std::string& by, product which, void (*run)(benchmark::State&)) {
    const std::string name = by + "/" + std::to_string(G.in) + "x" + std::to_string(G.out) + "/" + name_of(which);
    benchmark::RegisterBenchmark(name.c_str(), run)->ArgName("samples")->Arg(samples);
  };
  const auto add_both = [&]<product Which>() {
    add("linear", Which, &linear<G, Which>);
    add("sgemm", Which, &sgemm<G, Which>);
  };
  add_both.template operator()<product::forward>();
  add_both.template operator()<product::weight_gradient>();
  add_both.template operator()<product::input_gradient>();
}

}  // namespace

int main(int argc, char** argv) {
  register_linear<ls::linear_geometry{.in = 784, .out = 512}>(32);
  register_linear<ls::linear_geometry{.in = 512, .out = 256}>(32);
  register_linear<ls::linear_geometry{.in = 65536, .out = 10}>(8);
  register_convolution<ls::convolution_geometry{.in_channels = 3,
                                                .in = 32,
                                                .out_channels = 64,
                                                .kernel = 3,
                                                .padding = 1,
                                                .relu = true,
                                                .input_gradient = false}>("cnn", 8);
  register_convolution<same_size(64, 32, 64)>("vgg8", 16);
  register_convolution<same_size(64, 16, 128)>("vgg8", 16);
  register_convolution<same_size(128, 16, 128)>("vgg8", 16);
  register_convolution<same_size(256, 8, 256)>("vgg8", 16);
  register_convolution<same_size(3, 32, 16)>("resnet20", 16);
  register_convolution<same_size(16, 32, 16)>("resnet20", 16);
  register_convolution<same_size(32, 16, 32)>("resnet20", 16);
  register_convolution<same_size(64, 8, 64)>("resnet20", 16);
  register_convolution<same_size(512, 4, 512)>("resnet18", 16);
  register_convolution<ls::convolution_geometry{
      .in_channels = 1, .in = 28, .out_channels = 6, .kernel = 5, .relu = true, .input_gradient = false}>("lenet", 128);
  register_convolution<ls::convolution_geometry{
      .in_channels = 6, .in = 12, .out_channels = 16, .kernel = 5, .relu = true}>("lenet", 128);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
