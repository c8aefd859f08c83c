// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/scatter.hpp>

#include "support/catch.hpp"

// Inputs with names, as keyword arguments are elsewhere. torch.nn.DataParallel calls a replica without its positional
// arguments when there are fewer chunks than devices and a keyword holds no tensor; here each replica gets every
// member.

namespace ls = lockstep;

namespace {

struct no_tag {};

struct named_inputs {
  ls::batch_view<const float, 2> images;
  std::optional<ls::batch_view<const float>> weights;
  std::string mode;
  std::vector<float> class_weights;
  std::optional<int> limit;
  no_tag tag;
};

struct outputs {
  ls::batch_of<float> sums;
  std::optional<ls::batch_of<float>> weighted;
  std::optional<ls::batch_of<float>> never;
  float loss;
};

ls::batch_of<float, 2> counted(std::int64_t samples) {
  ls::batch_of<float, 2> t(samples);
  std::iota(t.begin(), t.end(), 1.F);
  return t;
}

/// A replica that insists on all its inputs.
outputs forward(const named_inputs& in) {
  if (in.mode != "train" || in.class_weights != std::vector<float>{1, 2} || in.limit != 7)
    throw ls::value_error("forward", "the shared options", "others");
  const std::int64_t samples = in.images.extent(0);
  outputs out{ls::batch_of<float>(samples), {}, {}, 0.F};
  if (in.weights) out.weighted.emplace(samples);
  for (std::int64_t i = 0; i < samples; ++i) {
    out.sums(i) = in.images(i, 0) + in.images(i, 1);
    if (in.weights) (*out.weighted)(i) = out.sums(i) * (*in.weights)(i);
    out.loss += out.sums(i);
  }
  return out;
}

struct twelve {
  int a;
  int b;
  int c;
  int d;
  int e;
  int f;
  int g;
  int h;
  int i;
  int j;
  ls::batch_view<const float, 2> images;
  std::string last;
};

}  // namespace

TEST_CASE("named inputs reach every replica, also when there are fewer samples than replicas", "[scatter]") {
  for (const std::int64_t samples : {0, 1, 2, 9, 16}) {
    for (const bool weighted : {false, true}) {
      INFO(samples << " samples over 4, weighted " << weighted);
      const auto images = counted(samples);
      ls::batch_of<float> weights(samples);
      std::iota(weights.begin(), weights.end(), 10.F);
      named_inputs all{
          .images = images.view(), .weights = {}, .mode = "train", .class_weights = {1, 2}, .limit = 7, .tag = {}};
      if (weighted) all.weights = std::as_const(weights).view();

      auto shards = ls::scatter<4>(all);
      static_assert(std::is_same_v<decltype(shards), std::array<named_inputs, 4>>, "the names stay");
      std::int64_t covered = 0;
      for (const named_inputs& shard : shards) {
        CHECK(shard.mode == "train");
        CHECK(shard.class_weights == std::vector<float>{1, 2});
        CHECK(shard.limit == 7);
        CHECK(shard.weights.has_value() == weighted);
        if (weighted) {
          CHECK(shard.weights->extent(0) == shard.images.extent(0));
          CHECK(shard.weights->data_handle() == weights.data() + covered);
        }
        CHECK(shard.images.data_handle() == images.data() + 2 * covered);
        covered += shard.images.extent(0);
      }
      CHECK(covered == samples);

      std::array<decltype(&forward), 4> replicas{forward, forward, forward, forward};
      const auto [sums, weighted_sums, never, losses] = ls::gather(ls::parallel_apply(replicas, shards));
      const outputs whole = forward(all);
      CHECK(std::vector<float>(sums.begin(), sums.end()) == std::vector<float>(whole.sums.begin(), whole.sums.end()));
      REQUIRE(weighted_sums.has_value() == weighted);
      if (weighted)
        CHECK(std::vector<float>(weighted_sums->begin(), weighted_sums->end()) ==
              std::vector<float>(whole.weighted->begin(), whole.weighted->end()));
      CHECK_FALSE(never.has_value());
      CHECK(std::accumulate(losses.begin(), losses.end(), 0.F) == whole.loss);
    }
  }
}

TEST_CASE("an optional batch counts where lengths are compared", "[scatter]") {
  const auto images = counted(4);
  const ls::batch_of<float> weights(3);
  const named_inputs all{images.view(), weights.view(), "train", {1, 2}, 7, {}};
  CHECK_THROWS_AS(ls::scatter<2>(all), ls::shape_error);
}

TEST_CASE("an optional that owns its batch scatters into an optional view", "[scatter]") {
  std::optional<ls::batch_of<float, 2>> some(counted(3));
  const auto shards = ls::scatter<2>(some);
  static_assert(std::is_same_v<decltype(shards), const std::array<std::optional<ls::batch_view<float, 2>>, 2>>);
  CHECK(shards[1]->data_handle() == some->data() + 4);
  some.reset();
  CHECK_FALSE(ls::scatter<2>(some)[0].has_value());
}

TEST_CASE("an optional output comes from all replicas or from none", "[gather]") {
  using optional_batch = std::optional<ls::batch_of<float, 2>>;
  const std::array<optional_batch, 2> all{counted(1), counted(2)};
  CHECK(ls::gather(all)->samples() == 3);
  CHECK_FALSE(ls::gather(std::array<optional_batch, 2>{}).has_value());
  const std::array<optional_batch, 3> alone{std::nullopt, counted(1), std::nullopt};
  CHECK_THROWS_WITH(ls::gather(alone), Catch::Contains("one from 1"));
  const std::array<optional_batch, 3> some{counted(1), std::nullopt, counted(1)};
  CHECK_THROWS_AS(ls::gather(some), ls::value_error);
  CHECK_THROWS_WITH(ls::gather(some), Catch::Contains("all 3 replicas or from none") && Catch::Contains("one from 2"));
}

TEST_CASE("members without members of their own and structs of twelve are fine", "[scatter]") {
  const auto images = counted(3);
  const auto with_nothing = std::make_pair(images.view(), std::monostate{});
  CHECK(std::get<0>(ls::scatter<2>(with_nothing)[1]).extent(0) == 1);

  const twelve many{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, images.view(), "end"};
  const auto shards = ls::scatter<2>(many);
  static_assert(std::is_same_v<decltype(shards), const std::array<twelve, 2>>);
  CHECK(shards[1].j == 10);
  CHECK(shards[1].images.extent(0) == 1);
  CHECK(shards[1].last == "end");
}

TEST_CASE("one replica of an array gets an array", "[scatter]") {
  const std::array<ls::batch_of<float, 2>, 2> pair{counted(2), counted(2)};
  const auto shards = ls::scatter<1>(pair);
  static_assert(std::is_same_v<decltype(shards), const std::array<std::array<ls::batch_view<const float, 2>, 2>, 1>>);
  const std::array<ls::batch_of<float, 2>, 1> single{counted(2)};
  static_assert(
      std::is_same_v<decltype(ls::scatter<3>(single)), std::array<std::array<ls::batch_view<const float, 2>, 1>, 3>>);
  CHECK(shards[0][1].data_handle() == pair[1].data());
}
