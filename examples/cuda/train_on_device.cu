// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Batches that never leave the GPU: Thrust makes them there, the trainer reads them there, and its outputs are counted
// there. The network learns which points of a square lie in a ring.
//
//   cuda-train-on-device [STEPS]

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <thrust/count.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/tabulate.h>

#include <lockstep/cuda.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::linear<32>, ls::relu, ls::linear<32>, ls::relu, ls::linear<2>>;
using classifier = ls::model<net, ls::input<2>, ls::cross_entropy>;

/// Coordinate i of batch `step`: point i / 2 of it, in [-1, 1).
struct coordinate {
  std::uint64_t step;

  __host__ __device__ float operator()(std::int64_t i) const {
    const ls::random_stream random(ls::seed{7}, ls::random_purpose::synthetic_data, step);
    return 2.F * random.uniform(static_cast<std::uint64_t>(i)) - 1.F;
  }
};

/// Whether point i lies in the ring.
struct in_ring {
  const float* points;

  __host__ __device__ std::int64_t operator()(std::int64_t i) const {
    const float square = points[2 * i] * points[2 * i] + points[2 * i + 1] * points[2 * i + 1];
    return square > 0.2F && square < 0.7F ? 1 : 0;
  }
};

/// Whether the larger one of point i's two logits is that of its class.
struct is_right {
  const float* logits;
  const std::int64_t* classes;

  __host__ __device__ bool operator()(std::int64_t i) const {
    return (logits[2 * i + 1] > logits[2 * i] ? 1 : 0) == classes[i];
  }
};

int main(int argc, char** argv) try {
  constexpr std::int64_t batch = 4096;
  const int steps = argc > 1 ? std::atoi(argv[1]) : 1000;

  ls::data_parallel<classifier, 2, ls::cuda, ls::adamw> trainer{ls::adamw{.learning_rate = 0.01F}};
  trainer.initialize(ls::seed{42});

  thrust::device_vector<float> points(2 * batch);
  thrust::device_vector<std::int64_t> classes(batch);
  const auto draw = [&](int step) {
    thrust::tabulate(points.begin(), points.end(), coordinate{static_cast<std::uint64_t>(step)});
    thrust::tabulate(classes.begin(), classes.end(), in_ring{points.data().get()});
    // The trainer's streams do not wait for the one that Thrust works on; these calls have returned when all is done.
  };

  for (int step = 0; step < steps; ++step) {
    draw(step);
    const double loss = trainer.step(points, classes);
    if (step % 100 == 0) std::printf("step %4d: loss %.4f\n", step, loss);
  }

  draw(steps);
  thrust::device_vector<float> logits(2 * batch);
  trainer.forward(points, logits);
  const auto right = thrust::count_if(thrust::device, thrust::counting_iterator<std::int64_t>(0),
                                      thrust::counting_iterator<std::int64_t>(batch),
                                      is_right{logits.data().get(), classes.data().get()});
  std::printf("of new points %.2f %% are told right\n", 100. * static_cast<double>(right) / batch);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "cuda-train-on-device: %s\n", error.what());
  return 1;
}
