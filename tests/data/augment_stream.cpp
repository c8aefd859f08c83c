// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <lockstep/data/augment.hpp>
#include <lockstep/data/stream.hpp>
#include <lockstep/lockstep.hpp>

#include "support/catch.hpp"
#include "support/message_of.hpp"

/// \file
/// Streams whose samples change.

namespace ls = lockstep;
using namespace ls::data;

namespace {

using picture = field<float, 1, 3, 4>;
using label = field<std::int64_t>;
using pictures = stream<picture, label>;
constexpr std::int64_t samples = 23, size = 12;

float value_of(std::int64_t sample, std::int64_t element) { return static_cast<float>(sample * 100 + element + 1); }

pictures make_stream() {
  return pictures([] {
    return [next = std::int64_t{0}](auto to, std::int64_t& of) mutable {
      if (next == samples) return false;
      for (std::int64_t i = 0; i < size; ++i) to[static_cast<std::size_t>(i)] = value_of(next, i);
      of = next++;
      return true;
    };
  });
}

const auto by = augment{pad_and_crop<1>{}, flip<>{},
                        [](auto view, random_draws& draws) { view(0, 0, 0) += static_cast<float>(draws.uniform()); }};

using samples_of_walk = std::vector<std::vector<float>>;

/// The samples of the next walk, which come with their labels.
template <class Loader>
samples_of_walk walk(Loader& from, std::int64_t first = 0) {
  samples_of_walk all;
  for (auto&& [images, labels] : from)
    for (std::int64_t i = 0; i < images.extent(0); ++i) {
      CHECK(labels[static_cast<std::size_t>(i)] == first + static_cast<std::int64_t>(all.size()));
      all.emplace_back(images.data_handle() + i * size, images.data_handle() + (i + 1) * size);
    }
  return all;
}

}  // namespace

TEST_CASE("a stream's samples change as those of a data set in its order", "[data][augment][stream]") {
  pictures source = make_stream();
  loader streamed{source, {.batch = 4, .seed = {7}}, by};
  // The same samples in memory.
  std::vector<float> values;
  std::vector<std::int64_t> labels;
  for (std::int64_t s = 0; s < samples; ++s) {
    for (std::int64_t i = 0; i < size; ++i) values.push_back(value_of(s, i));
    labels.push_back(s);
  }
  const dataset<picture, label> table(std::move(values), std::move(labels));
  loader kept{table, {.batch = 5, .seed = {7}}, by};
  const auto first = walk(streamed);
  REQUIRE(first.size() == samples);
  CHECK(first == walk(kept));
  const auto second = walk(streamed);
  CHECK(second == walk(kept));
  CHECK(first != second);

  // Whatever the batch, and without a thread.
  pictures again = make_stream();
  loader other{again, {.batch = 7, .seed = {7}, .prefetch = 0}, by};
  CHECK(walk(other) == first);
  other.resume_at({.epoch = 1, .batch = 2});
  CHECK(walk(other, 14) == samples_of_walk(second.begin() + 14, second.end()));
  pictures third = make_stream();
  loader seeded{third, {.batch = 4, .seed = {8}}, by};
  CHECK(walk(seeded) != first);
}

TEST_CASE("a stream's transforms are checked, and known to checkpoints", "[data][augment][stream]") {
  pictures source = make_stream();
  CHECK_THROWS_AS((loader{source, {}, augment{random_erasing{.probability = 2}}}), ls::value_error);
  const loader changing{source, {.seed = {3}}, augment{flip<>{}, cutout<2>{}}};
  const loader_identity expected{{"batch", "64"},
                                 {"drop_last", "false"},
                                 {"order", "of a stream"},
                                 {"transforms", "2"},
                                 {"augmentation", "flip(0.5) cutout(2)"},
                                 {"seed", "3"}};
  CHECK(changing.identity(0) == expected);
}
