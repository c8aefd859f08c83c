// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/data/sampler_basic.hpp>
#include <lockstep/data/sampler_distributed.hpp>
#include <lockstep/data/sampler_weighted.hpp>

#include "support/catch.hpp"

namespace data = lockstep::data;

TEST_CASE("weighted_sampler: rounding gives a sample of weight zero no chance", "[data]") {
  // Shares that are no exact doubles: what is handed out in the end is a little more or less than there is.
  std::int64_t wrong = 0;
  for (std::size_t heavy = 1; heavy <= 24; ++heavy)
    for (std::size_t light = 1; light <= 24; ++light) {
      std::vector<double> weights(heavy + light, 0.0);
      std::fill_n(weights.end() - static_cast<std::ptrdiff_t>(heavy), heavy, 0.1);
      const data::weighted_sampler sampler{weights, {.draws = 400, .seed = {heavy}}};
      for (const std::int64_t index : epoch_order(sampler, light))
        wrong += weights[static_cast<std::size_t>(index)] > 0 ? 0 : 1;
    }
  CHECK(wrong == 0);
}

TEST_CASE("distributed_sampler: a rank's largest step is as large as it says", "[data]") {
  for (const std::int64_t samples : {7, 24, 25, 96})
    for (const std::int64_t batch : {1, 8, 9, 24, 100})
      for (const int world : {1, 2, 3, 4}) {
        CAPTURE(samples, batch, world);
        std::int64_t largest = 0;
        std::int64_t promised = 0;
        for (int rank = 0; rank < world; ++rank) {
          const data::distributed_sampler sampler{data::sequential_sampler{samples},
                                                  {.batch = batch, .rank = rank, .world_size = world}};
          promised = std::max(promised, sampler.local_batch());
          for (std::int64_t step = 0; step < sampler.steps(); ++step)
            largest = std::max(largest, sampler.part(step).size);
        }
        CHECK(promised == largest);
      }
}
