// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What the first GPU can do at best: copies within its memory and from the host, matrix products of cuBLASLt in float32
// and in TF32; and from that the shortest time that a step of the models of cuda_step could take, to be held against
// what it takes. The floors' times are computed, not measured.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/cublaslt.hpp>
#include <lockstep/backend/cuda/transfer.hpp>

#include "device_main.hpp"
#include "floor.hpp"
#include "memory.hpp"
#include "models.hpp"
#include "product.hpp"

namespace {

using namespace lockstep_bench;
namespace cuda = lockstep::cuda_backend;

constexpr std::int64_t copied = std::int64_t{1} << 28U;    // floats: 1 GiB
constexpr std::int64_t uploaded = std::int64_t{1} << 25U;  // 128 MiB
constexpr std::int64_t side = 8192;                        // of a product's matrices

/// Measures time on a stream.
class stopwatch {
 public:
  explicit stopwatch(cuda::context& c) : stream_(c.stream()) {
    cuda::check(cudaEventCreate(&begin_), "an event (cudaEventCreate)");
    cuda::check(cudaEventCreate(&end_), "an event (cudaEventCreate)");
  }
  stopwatch(const stopwatch&) = delete;
  stopwatch& operator=(const stopwatch&) = delete;
  ~stopwatch() {
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
  }

  /// Seconds that the device takes for what f enqueues.
  template <class F>
  double operator()(const F& f) const {
    cuda::check(cudaEventRecord(begin_, stream_), "a time (cudaEventRecord)");
    f();
    cuda::check(cudaEventRecord(end_, stream_), "a time (cudaEventRecord)");
    cuda::check(cudaEventSynchronize(end_), "the timed work to succeed");
    float milliseconds = 0;
    cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "a time (cudaEventElapsedTime)");
    return 1e-3 * double{milliseconds};
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

/// A matrix, uniform in [-1, 1): the power that a product draws, and with it the clock, depends on its factors.
const std::vector<float>& random_matrix() {
  static const std::vector<float> matrix = [] {
    std::vector<float> values(static_cast<std::size_t>(side * side));
    const lockstep::random_stream stream(lockstep::seed{2}, lockstep::random_purpose::synthetic_data);
    std::uint64_t draw = 0;
    for (float& value : values) value = 2 * stream.uniform(draw++) - 1;
    return values;
  }();
  return matrix;
}

/// The precisions of a step, and what they run on.
struct fp32 {
  using backend = lockstep::cuda;
  static constexpr auto rounding = lockstep::factor_rounding::none;
};
struct tf32 {
  using backend = lockstep::cuda;
  static constexpr auto rounding = lockstep::factor_rounding::tf32;
};
struct bf16 {
  using backend = lockstep::cuda_bf16;
  static constexpr auto rounding = lockstep::factor_rounding::none;
};
template <class Precision>
using element_of = typename Precision::backend::activation_type;

/// Calls measure(step, work), where step() returns the seconds of one copy or product, and work is its bytes or flops.
template <class F>
void with_copy(const F& measure) {
  cuda::context c;
  const auto device = c.enter();
  const auto from = allocate_device<float>(copied);
  const auto to = allocate_device<float>(copied);
  cuda::clear(c, copied, from.get());
  const stopwatch time(c);
  measure([&] { return time([&] { cuda::copy(c, copied, from.get(), to.get()); }); },
          2.0 * double{copied} * double{sizeof(float)});
}

template <class F>
void with_upload(bool pinned, const F& measure) {
  cuda::context c;
  const auto device = c.enter();
  const auto to = allocate_device<float>(uploaded);
  std::vector<float> pageable(static_cast<std::size_t>(uploaded), 1.F);
  pinned_memory<float> fixed;
  if (pinned) {
    fixed = allocate_pinned<float>(uploaded);
    std::copy(pageable.begin(), pageable.end(), fixed.get());
  }
  const float* from = pinned ? fixed.get() : pageable.data();
  const stopwatch time(c);
  measure([&] { return time([&] { cuda::copy(c, uploaded, from, to.get()); }); },
          double{uploaded} * double{sizeof(float)});
}

/// make(context, what cuBLASLt calls its elements) gives the product.
template <class Precision, class Make, class F>
void with_product(const Make& make, const F& measure) {
  using element = element_of<Precision>;
  cuda::context c;
  c.rounding(Precision::rounding);
  const auto device = c.enter();
  constexpr std::int64_t size = side * side;
  const std::vector<element> values(random_matrix().begin(), random_matrix().end());
  const auto a = allocate_device<element>(size);
  const auto b = allocate_device<element>(size);
  const auto d = allocate_device<element>(size);
  cuda::copy(c, size, values.data(), a.get());
  cuda::copy(c, size, values.data(), b.get());
  c.finish();
  const auto product = make(c, cuda::library_type<element>);
  void* const workspace = c.workspace(product.workspace_bytes());
  const stopwatch time(c);
  measure([&] { return time([&] { product(c, a.get(), b.get(), d.get(), workspace); }); },
          2.0 * double{side} * double{side} * double{side});
}

constexpr auto fastest = [](cuda::context& c, cudaDataType_t elements) { return fastest_product(c, side, elements); };
/// What the layers of a network get.
constexpr auto of_backend = [](cuda::context& c, cudaDataType_t elements) {
  return cuda::matmul(c,
                      {.m = side, .n = side, .k = side, .transpose_a = true, .factors = elements, .result = elements});
};

/// The rate of the median of a few runs.
template <class F>
double measured_rate(const F& with) {
  constexpr std::size_t runs = 11;
  double rate = 0;
  with([&](const auto& step, double work) {
    for (int i = 0; i < 3; ++i) step();
    std::vector<double> seconds(runs);
    for (double& s : seconds) s = step();
    std::nth_element(seconds.begin(), seconds.begin() + runs / 2, seconds.end());
    rate = work / seconds[runs / 2];
  });
  return rate;
}

/// Of the first device, measured at the first call.
template <class Precision>
const ceilings& measured_ceilings() {
  static const ceilings device{
      .bytes_per_s = measured_rate([](const auto& measure) { with_copy(measure); }),
      .flops_per_s = measured_rate([](const auto& measure) { with_product<Precision>(fastest, measure); }),
      .upload_bytes_per_s = measured_rate([](const auto& measure) { with_upload(true, measure); }),
  };
  return device;
}

template <class F>
void run(benchmark::State& state, const char* counter, const F& with) try {
  with([&](const auto& step, double work) {
    for (int i = 0; i < 3; ++i) step();
    for (auto _ : state) state.SetIterationTime(step());
    state.counters[counter] = benchmark::Counter(work, benchmark::Counter::kIsIterationInvariantRate);
  });
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

void copy_on_device(benchmark::State& state) {
  run(state, "bytes/s", [](const auto& measure) { with_copy(measure); });
}
void copy_from_pinned(benchmark::State& state) {
  run(state, "bytes/s", [](const auto& measure) { with_upload(true, measure); });
}
void copy_from_pageable(benchmark::State& state) {
  run(state, "bytes/s", [](const auto& measure) { with_upload(false, measure); });
}
template <class Precision, const auto& Make>
void product(benchmark::State& state) {
  run(state, "flop/s", [](const auto& measure) { with_product<Precision>(Make, measure); });
}

/// The time shown is the floor; items are samples, as in cuda_step.
template <class Model, class Precision>
void floor_of(benchmark::State& state) try {
  const step_floor least =
      floor_of_step<Model, typename Precision::backend>(state.range(0), measured_ceilings<Precision>());
  for (auto _ : state) state.SetIterationTime(least.seconds);
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["floor_us"] = 1e6 * least.seconds;
  state.counters["upload_us"] = 1e6 * least.upload_seconds;
  state.counters["flops"] = least.flops;
  state.counters["bytes"] = least.bytes;
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

template <class Model>
void register_floor(const std::string& model, const std::vector<std::int64_t>& batches) {
  static_assert(Model::template plan<lockstep::cuda>.training_flops > 0);
  const auto with_precision = [&]<class Precision>(const std::string& precision) {
    for (const std::int64_t samples : batches)
      benchmark::RegisterBenchmark((model + "/floor/precision:" + precision).c_str(), &floor_of<Model, Precision>)
          ->ArgName("batch")
          ->Arg(samples)
          ->Iterations(1)
          ->UseManualTime();
  };
  with_precision.template operator()<fp32>("fp32");
  with_precision.template operator()<tf32>("tf32");
  with_precision.template operator()<bf16>("bf16");
}

}  // namespace

int main(int argc, char** argv) {
  return device_main(argc, argv, [] {
    benchmark::RegisterBenchmark("copy/device", &copy_on_device)->UseManualTime();
    benchmark::RegisterBenchmark("copy/pinned", &copy_from_pinned)->UseManualTime();
    benchmark::RegisterBenchmark("copy/pageable", &copy_from_pageable)->UseManualTime();
    const auto register_products = [](const std::string& name, auto* in_fp32, auto* in_tf32, auto* in_bf16) {
      benchmark::RegisterBenchmark((name + "/fp32").c_str(), in_fp32)->UseManualTime();
      benchmark::RegisterBenchmark((name + "/tf32").c_str(), in_tf32)->UseManualTime();
      benchmark::RegisterBenchmark((name + "/bf16").c_str(), in_bf16)->UseManualTime();
    };
    register_products("product", &product<fp32, fastest>, &product<tf32, fastest>, &product<bf16, fastest>);
    register_products("backend_product", &product<fp32, of_backend>, &product<tf32, of_backend>,
                      &product<bf16, of_backend>);
    register_floor<linear>("linear", {100});
    register_floor<cnn>("cnn", {64, 1024});
    register_floor<mlp>("mlp", {64, 1024});
    register_floor<deep>("deep", {64, 256});
  });
}
