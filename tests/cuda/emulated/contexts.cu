// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cuda/cuda.hpp>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "faults.hpp"
#include "training.hpp"

/// \file
/// Which devices the backend works on.

namespace {

using namespace lockstep_test;

/// Runs f in a thread that has not chosen a device: CUDA's calls there are for device 0.
template <class F>
void in_fresh_thread(const F& f) {
  std::thread(f).join();
}

template <int N>
void train_and_end(const std::vector<int>& devices) {
  std::unique_ptr<ls::data_parallel<regression, N, ls::cuda>> trainer;
  in_fresh_thread([&] {
    trainer = std::make_unique<ls::data_parallel<regression, N, ls::cuda>>(with_momentum, ls::mean_squared_error{},
                                                                           ls::trainer_options{.devices = devices});
  });
  in_fresh_thread([&] {
    const floats x = draws(1, 8 * regression::input_dims.size());
    const floats targets = draws(2, 8 * regression::output_dims.size());
    for (int i = 0; i < 3; ++i) static_cast<void>(trainer->step(batch<regression>(x), targets));
    static_cast<void>(trainer->forward(batch<regression>(x)));
    for (const auto& each : trainer->parameters()) each.assign(each.values());
  });
  in_fresh_thread([&] { trainer.reset(); });
}

}  // namespace

TEST_CASE("a device that is not used gets no context", "[contexts]") {
  LOCKSTEP_NEEDS_DEVICES(3);
  emulated::forget_contexts();
  train_and_end<1>({1});
  CHECK_FALSE(ls::cuda_backend::has_context(0));
  CHECK(ls::cuda_backend::has_context(1));
  CHECK_FALSE(ls::cuda_backend::has_context(2));
  train_and_end<2>({1, 2});
  CHECK_FALSE(ls::cuda_backend::has_context(0));
  CHECK(ls::cuda_backend::has_context(2));
}

TEST_CASE("a thread returns to the device it was on, if that is in use", "[contexts]") {
  LOCKSTEP_NEEDS_DEVICES(3);
  emulated::forget_contexts();
  in_fresh_thread([] {
    int device = -1;
    { const ls::cuda_backend::device_scope here(1); }
    CHECK((cudaGetDevice(&device) == cudaSuccess && device == 1));  // device 0 has no context
    { const ls::cuda_backend::device_scope here(2); }
    CHECK((cudaGetDevice(&device) == cudaSuccess && device == 1));
  });
  CHECK_FALSE(ls::cuda_backend::has_context(0));
}

TEST_CASE("what lies on a device is given back there, whatever device the thread is on", "[contexts]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  namespace backend = ls::cuda_backend;
  emulated::forget_contexts();
  std::optional<backend::stream> stream;
  std::optional<backend::event> event;
  std::optional<backend::buffer<float>> buffer;
  std::optional<backend::pinned<float>> pinned;
  in_fresh_thread([&] {
    const backend::device_scope here(1);
    stream.emplace(1);
    event.emplace(1);
    buffer.emplace(8);
    pinned.emplace(1);
  });
  in_fresh_thread([&] { stream.reset(); });
  in_fresh_thread([&] { event.reset(); });
  in_fresh_thread([&] { buffer.reset(); });
  in_fresh_thread([&] { pinned.reset(); });
  CHECK(backend::has_context(1));
  CHECK_FALSE(backend::has_context(0));
}
