// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "allocations.hpp"
#include "device.hpp"
#include "training.hpp"

namespace {

using namespace lockstep_test;

/// Up to the order of sums, which depends on the batch size.
constexpr double tolerance = 1e-5;

template <int N>
using server_of = ls::predictor<classifier, N, ls::cuda>;

/// What the CPU makes of samples, with parameters that are drawn.
class expected_outputs {
 public:
  explicit expected_outputs(std::uint64_t stream) {
    for (const auto& each : trainer_.parameters()) each.assign(draws(stream++, each.size(), 0.2F));
  }

  [[nodiscard]] const auto& trainer() const { return trainer_; }
  [[nodiscard]] floats of(const floats& x) {
    const auto y = trainer_.forward(batch<classifier>(x));
    return {y.begin(), y.end()};
  }

 private:
  ls::data_parallel<classifier, 1> trainer_;
};

/// The first `samples` of x.
floats part(const floats& x, std::int64_t samples) {
  return {x.begin(), x.begin() + samples * classifier::input_dims.size()};
}

template <int N>
floats predict(server_of<N>& server, const floats& x) {
  const auto y = server.predict(batch<classifier>(x));
  return {y.begin(), y.end()};
}

template <int N>
void check_any_size(const std::vector<int>& devices) {
  expected_outputs expected(40);
  server_of<N> server(expected.trainer(),
                      {.max_batch = 12, .latency = std::chrono::microseconds{0}, .devices = devices});
  const floats x = draws(1, 100 * classifier::input_dims.size());
  // Twice each, since what comes again is replayed.
  for (const std::int64_t samples : {1, 5, 12, 13, 31, 100, 1, 5, 12, 13, 31, 100}) {
    CAPTURE(samples);
    const floats own = part(x, samples);
    CHECK(relative_difference(predict(server, own), expected.of(own)) <= tolerance);
  }
}

}  // namespace

TEST_CASE("a predictor serves requests of any size from a device", "[predictor]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_any_size<1>({});
  check_any_size<3>({});
}

TEST_CASE("a predictor serves from several devices", "[predictor]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  check_any_size<2>({0, 1});
  check_any_size<3>({1, 0, 1});
}

TEST_CASE("a predictor on a device serves many threads, and takes new parameters meanwhile", "[predictor]") {
  LOCKSTEP_NEEDS_DEVICE();
  const int second = ls::cuda_backend::device_count() > 1 ? 1 : 0;
  expected_outputs before(40);
  expected_outputs after(80);
  const floats x = draws(1, 5 * classifier::input_dims.size());
  server_of<2> server(before.trainer(), {.max_batch = 4, .devices = {0, second}});
  std::vector<double> worst(4);
  std::vector<std::thread> callers;
  for (std::size_t t = 0; t < worst.size(); ++t)
    callers.emplace_back([&, t] {
      const floats own = part(x, static_cast<std::int64_t>(t) + 1);
      expected_outputs old_ones(40);
      expected_outputs new_ones(80);
      const floats was = old_ones.of(own);
      const floats is = new_ones.of(own);
      for (int i = 0; i < 20; ++i) {
        const floats y = predict(server, own);
        worst[t] = std::max(worst[t], std::min(largest_difference(y, was), largest_difference(y, is)));
      }
    });
  server.update_from(after.trainer());
  for (std::thread& each : callers) each.join();
  for (const double each : worst) CHECK(each <= tolerance);
  CHECK(relative_difference(predict(server, x), after.of(x)) <= tolerance);
  for (const auto& each : server.parameters())
    CHECK(each.values() == after.trainer().parameters().at(each.name()).values());
}

TEST_CASE("requests of a predictor on a device allocate nothing", "[predictor]") {
  LOCKSTEP_NEEDS_DEVICE();
  server_of<2> server({.max_batch = 8});
  const floats x = draws(1, 20 * classifier::input_dims.size());
  typename server_of<2>::output_tensor y(20);
  const auto requests = [&] {
    for (int i = 0; i < 10; ++i) server.predict(batch<classifier>(x), y.view());
  };
  requests();
  const allocation_count count = count_allocations(requests);
  INFO("the first allocation is at " << count.first);
  CHECK(count.own == 0);
}

TEST_CASE("a predictor on a device refuses devices that do not exist", "[predictor]") {
  LOCKSTEP_NEEDS_DEVICE();
  const int count = ls::cuda_backend::device_count();
  CHECK_THROWS_AS(server_of<1>({.devices = {count}}), ls::value_error);
  CHECK_THROWS_AS(server_of<2>({.devices = {0, 0, 0}}), ls::value_error);
  CHECK_THROWS_AS(server_of<2>({.devices = {-1}}), ls::value_error);
}
