// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it replaces the functions that allocate.
//
// Counts the allocations of the process while a flag is up, by replacing the allocation functions in this program. The
// sanitizers replace the same functions, so this file is empty under them.

#include "support/sanitized.hpp"

#if !LOCKSTEP_TEST_SANITIZED() && __has_include(<gnu/libc-version.h>)

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <lockstep/data/augment.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/one_hot.hpp>
#include <lockstep/data/stream.hpp>
#include <lockstep/data/text.hpp>

#include "support/catch.hpp"
#include "support/replaced_allocation.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::field;

/// The allocations of all threads from the second batch of a walk to its end.
template <class Loader>
std::size_t allocations_of_a_walk(Loader& batches) {
  std::int64_t samples = 0;
  requests.store(0);
  for (const auto& batch : batches) {
    counting.store(true);  // whatever a thread allocates as it starts lies before the first batch
    samples += batch.size();
  }
  counting.store(false);
  REQUIRE(samples == 1000);
  return requests.load();
}

}  // namespace

TEST_CASE("a loader allocates nothing for a batch", "[data][allocations]") {
  {
    requests.store(0);
    counting.store(true);
    const std::vector<int> seen(3);
    counting.store(false);
    REQUIRE(requests.load() == (seen.size() == 3 ? 1 : 0));
  }
  const std::int64_t prefetch = GENERATE(0, 2);
  const data::loader_options shuffled{.batch = 16, .shuffle = true, .prefetch = prefetch};

  const data::dataset<ls::shape<1, 4, 4>> pictures(std::vector<std::uint8_t>(16'000), std::vector<std::int64_t>(1000),
                                                   1);
  data::loader of_pictures{pictures, shuffled};
  const data::dataset<field<float, 3>, field<float>, field<std::int64_t>> table(
      std::vector<float>(3000), std::vector<float>(1000), std::vector<std::int64_t>(1000));
  data::loader of_table{table, shuffled};
  const auto norm = data::measure_normalisation(pictures);
  data::loader augmented{pictures, shuffled,
                         data::augment{data::pad_and_crop<1>{}, data::flip<>{}, data::cutout<2>{},
                                       data::random_erasing{.value = {}}, data::normalise{norm}}};
  const auto targets = data::one_hot<1>(pictures);
  data::loader mixed{targets, shuffled, data::augment{data::flip<>{}, data::mixup{}}};
  data::stream<field<float, 3>, field<float>> stream([] {
    return [left = 1000](std::span<float, 3> features, float& target) mutable {
      features[0] = target = static_cast<float>(left);
      return left-- > 0;
    };
  });
  data::loader of_stream{stream, {.batch = 16, .prefetch = prefetch}};
  const auto windows = data::windows<8>(data::token_sequence(std::vector<std::uint8_t>(8001)));
  data::loader of_windows{windows, shuffled};
  for (int epoch = 0; epoch < 2; ++epoch) {
    CHECK(allocations_of_a_walk(of_windows) == 0);
    CHECK(allocations_of_a_walk(of_pictures) == 0);
    CHECK(allocations_of_a_walk(of_table) == 0);
    CHECK(allocations_of_a_walk(augmented) == 0);
    CHECK(allocations_of_a_walk(mixed) == 0);
    CHECK(allocations_of_a_walk(of_stream) == 0);
  }
}

#endif
