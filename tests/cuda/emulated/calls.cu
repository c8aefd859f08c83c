// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "device_array.hpp"
#include "faults.hpp"
#include "training.hpp"

/// \file
/// What only the emulation can count.

namespace {

using namespace lockstep_test;

/// Pieces of work that streams are given by a step of a size met before.
template <class Model>
std::uint64_t work_of_step(std::int64_t samples) {
  ls::data_parallel<Model, 1, ls::cuda> trainer(with_momentum);
  const floats x = draws(1, samples * Model::input_dims.size());
  const floats targets = draws(2, samples * Model::output_dims.size());
  const auto step = [&] { return trainer.step(batch<Model>(x), targets); };
  for (int i = 0; i < 4; ++i) step();
  const std::uint64_t before = emulated::given_work();
  step();
  return emulated::given_work() - before;
}

/// Nodes of the graph of a step by plain SGD; a call of a library is one.
template <class Model>
std::size_t nodes_of_step(std::int64_t samples) {
  ls::data_parallel<Model, 1, ls::cuda> trainer(ls::sgd{.learning_rate = 1e-3F});
  const floats x = draws(1, samples * Model::input_dims.size());
  const auto step = [&](const auto& targets) {
    for (int i = 0; i < 3; ++i) trainer.step(batch<Model>(x), targets);
  };
  if constexpr (std::same_as<typename Model::loss_type, ls::cross_entropy>)
    step(std::vector<std::int64_t>(static_cast<std::size_t>(samples), 3));
  else
    step(draws(2, samples * Model::output_dims.size()));
  return emulated::nodes_of_last_graph();
}

/// Pieces of work of a convolution's forward pass that has run before.
template <ls::convolution_geometry G>
std::uint64_t work_of_convolution() {
  ls::cuda::context c(ls::replica_place{});
  const auto entered = c.enter();
  ls::cuda::convolution<G> op(c, 2);
  device_array x(c, draws(1, 2 * G.in_size()));
  device_array w(c, draws(2, G.weight_size()));
  device_array b(c, draws(3, G.out_channels));
  device_array y(c, floats(static_cast<std::size_t>(2 * G.out_size())));
  const auto forward = [&] { op.forward(c, x.data(), w.data(), b.data(), y.data()); };
  forward();
  const std::uint64_t before = emulated::given_work();
  forward();
  return emulated::given_work() - before;
}

}  // namespace

TEST_CASE("a step of a small batch is one launch, one of a large batch a copy more for each large part", "[calls]") {
  LOCKSTEP_NEEDS_DEVICE();
  CHECK(work_of_step<regression>(16) == 1);
  CHECK(work_of_step<regression>(3000) == 1);   // 60 kB of images
  CHECK(work_of_step<regression>(4000) == 2);   // 80 kB
  CHECK(work_of_step<regression>(10000) == 3);  // 120 kB of targets
}

TEST_CASE("a step's graph has as many nodes as the manual says", "[calls]") {
  LOCKSTEP_NEEDS_DEVICE();
  CHECK(nodes_of_step<golden_linear>(100) == 6);
  CHECK(nodes_of_step<golden_mlp>(64) == 15);
  CHECK(nodes_of_step<golden_cnn>(5) == 12);  // as of 64
}

TEST_CASE("bias and relu are part of a convolution where cuDNN offers that and leaves a NaN alone", "[calls]") {
  LOCKSTEP_NEEDS_DEVICE();
  using geometry = ls::convolution_geometry;
  CHECK(work_of_convolution<geometry{.in_channels = 3, .in = {5}, .out_channels = 8, .kernel = {3}, .relu = true}>() ==
        1);
  CHECK(work_of_convolution<geometry{.in_channels = 3, .in = {5}, .out_channels = 8, .kernel = {3}}>() == 1);
  // Here the emulated cuDNN makes a NaN 0, ...
  CHECK(work_of_convolution<geometry{.in_channels = 3, .in = {5}, .out_channels = 5, .kernel = {3}, .relu = true}>() ==
        2);
  // ... and here it does not offer that.
  CHECK(work_of_convolution<geometry{.in_channels = 3, .in = {5}, .out_channels = 6, .kernel = {3}, .relu = true}>() ==
        2);
  CHECK(work_of_convolution<geometry{.in_channels = 3, .in = {5}, .out_channels = 6, .kernel = {3}}>() == 2);
}

TEST_CASE("parts of a product are added up in an order that is fixed, and only float32 as the result", "[calls]") {
  LOCKSTEP_NEEDS_DEVICE();
  namespace backend = ls::cuda_backend;
  backend::context c;
  const auto entered = c.enter();
  const auto allowed = [&](const backend::matmul_shape& shape) {
    static_cast<void>(backend::matmul(c, shape));
    return emulated::last_reductions();
  };
  const backend::matmul_shape floats_only{.m = 4, .n = 4, .k = 4};
  CHECK(allowed(floats_only) == (CUBLASLT_REDUCTION_SCHEME_INPLACE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  auto rounded = floats_only;
  rounded.factors = CUDA_R_16BF;
  CHECK(allowed(rounded) == (CUBLASLT_REDUCTION_SCHEME_INPLACE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  rounded.result = CUDA_R_16BF;
  CHECK(allowed(rounded) == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  using backend::matmul_epilogue;
  if (backend::matmul::with_epilogue_if_offered(c, floats_only, matmul_epilogue::sums_of_b).epilogue() ==
      matmul_epilogue::sums_of_b)
    CHECK(emulated::last_reductions() == CUBLASLT_REDUCTION_SCHEME_NONE);
}

TEST_CASE("without graphs steps have the same bits, on one device and on several", "[calls]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  const auto check = [](const auto& train, ls::trainer_options options) {
    const trained with = train(options);
    const int before = emulated::launched_graphs();
    options.graphs = false;
    const trained without = train(options);
    CHECK(emulated::launched_graphs() == before);
    check_same_bits(without, with);
  };
  const int before = emulated::launched_graphs();
  check([](const auto& o) { return train_regression<ls::data_parallel<regression, 1, ls::cuda>>(with_momentum, o); },
        {});
  const auto two = [](const auto& o) {
    return train_regression<ls::data_parallel<regression, 2, ls::cuda>>(with_momentum, o);
  };
  check(two, {.devices = {0, 1}});
  check(two, {.devices = {0, 1}, .max_norm = 0.5});
  CHECK(emulated::launched_graphs() > before);
}
