// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/replicate.hpp>
#include <lockstep/parallel/scatter.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

using pictures = ls::batch_of<float, 2, 3>;
using picture_view = ls::batch_view<float, 2, 3>;
using const_picture_view = ls::batch_view<const float, 2, 3>;

template <class Tensor = pictures>
Tensor counted(std::int64_t samples) {
  Tensor t(samples);
  std::iota(t.begin(), t.end(), typename Tensor::value_type{1});
  return t;
}

template <class Tensor>
std::vector<typename Tensor::value_type> elements(const Tensor& t) {
  return {t.begin(), t.end()};
}

// Structs as a user's data set has them.
struct views {
  const_picture_view images;
  std::span<const std::int64_t> labels;
  float scale;
};
struct tensors {
  pictures images;
  ls::batch_of<std::int64_t> labels;
};
struct inner {
  picture_view images;
};
struct outer {
  inner nested;
  std::span<std::int64_t> labels;
  int epoch;
};
struct nested_tensors {
  tensors both;
  pictures more;
};

}  // namespace

TEST_CASE("scatter views a tensor without a copy, and gather brings it back", "[scatter]") {
  for (const std::int64_t samples : {0, 1, 2, 3, 7, 64}) {
    auto whole = counted(samples);
    const auto shards = ls::scatter<3>(whole);
    static_assert(std::is_same_v<decltype(shards), const std::array<picture_view, 3>>);
    REQUIRE(shards[0].extent(0) + shards[1].extent(0) + shards[2].extent(0) == samples);
    const float* next = whole.data();
    for (const auto& shard : shards) {
      CHECK(shard.data_handle() == next);
      next += shard.extent(0) * 6;
    }
    const auto back = ls::gather(shards);
    static_assert(std::is_same_v<decltype(back), const pictures>);
    CHECK(back.samples() == samples);
    CHECK(elements(back) == elements(whole));
    if (samples > 0) CHECK(back.data() != whole.data());
  }
}

TEST_CASE("a constant tensor scatters into constant views, a view and a span into their own kind", "[scatter]") {
  const auto whole = counted(5);
  const auto shards = ls::scatter<2>(whole);
  static_assert(std::is_same_v<decltype(shards), const std::array<const_picture_view, 2>>);
  CHECK(shards[0].extent(0) == 3);
  CHECK(shards[1](0, 1, 2) == whole(3, 1, 2));
  CHECK(elements(ls::gather(shards)) == elements(whole));

  const auto view = whole.view();
  const auto view_shards = ls::scatter<4>(view);
  static_assert(std::is_same_v<decltype(view_shards), const std::array<const_picture_view, 4>>);
  CHECK(elements(ls::gather(view_shards)) == elements(whole));

  std::vector<std::int64_t> labels{5, 4, 3, 2, 1};
  std::span<std::int64_t> span(labels);
  const auto span_shards = ls::scatter<3>(span);
  static_assert(std::is_same_v<decltype(span_shards), const std::array<std::span<std::int64_t>, 3>>);
  CHECK(span_shards[2].size() == 1);
  CHECK(span_shards[2].data() == labels.data() + 4);
  CHECK(elements(ls::gather(span_shards)) == labels);
}

TEST_CASE("what has no batch dimension goes to every replica and comes back one for each", "[scatter]") {
  const float rate = 0.5F;
  const auto shards = ls::scatter<4>(rate);
  CHECK(shards == std::array<float, 4>{0.5F, 0.5F, 0.5F, 0.5F});
  CHECK(ls::gather(std::array<double, 3>{1, 2, 3}) == std::array<double, 3>{1, 2, 3});

  const std::string name = "resnet";
  CHECK(ls::scatter<2>(name)[1] == "resnet");
}

TEST_CASE("tuples, pairs and arrays are taken apart", "[scatter]") {
  auto images = counted(5);
  const auto labels = counted<ls::batch_of<std::int64_t>>(5);

  const auto both = std::make_tuple(images.view(), labels.view(), 7);
  const auto shards = ls::scatter<2>(both);
  REQUIRE(shards.size() == 2);
  CHECK(std::get<0>(shards[1]).extent(0) == 2);
  CHECK(std::get<1>(shards[1])(0) == 4);
  CHECK(std::get<2>(shards[1]) == 7);
  const auto [image_back, label_back, sevens] = ls::gather(shards);
  CHECK(elements(image_back) == elements(images));
  CHECK(elements(label_back) == elements(labels));
  CHECK(sevens == std::array<int, 2>{7, 7});

  auto pair = std::pair(counted(4), std::vector<float>{1, 2});
  const auto pair_shards = ls::scatter<3>(pair);
  CHECK(std::get<0>(pair_shards[0]).extent(0) == 2);
  CHECK(std::get<1>(pair_shards[2]) == std::vector<float>{1, 2});
  CHECK(elements(std::get<0>(ls::gather(pair_shards))) == elements(pair.first));

  const std::array<pictures, 2> array{counted(3), counted(3)};
  const auto array_shards = ls::scatter<2>(array);
  static_assert(std::is_same_v<decltype(array_shards), const std::array<std::array<const_picture_view, 2>, 2>>);
  const auto array_back = ls::gather(array_shards);
  static_assert(std::is_same_v<decltype(array_back), const std::array<pictures, 2>>);
  CHECK(elements(array_back[1]) == elements(array[1]));

  const auto deep = std::make_tuple(std::make_pair(images.view(), 1.5), std::array{labels.view()});
  const auto deep_back = ls::gather(ls::scatter<3>(deep));
  CHECK(elements(std::get<0>(std::get<0>(deep_back))) == elements(images));
  CHECK(elements(std::get<1>(deep_back)[0]) == elements(labels));
}

TEST_CASE("a struct of views stays that struct, and its gathered members own their elements", "[scatter]") {
  const auto images = counted(5);
  const std::vector<std::int64_t> labels{1, 2, 3, 4, 5};
  const views whole{images.view(), labels, 0.25F};
  const auto shards = ls::scatter<3>(whole);
  static_assert(std::is_same_v<decltype(shards), const std::array<views, 3>>);
  CHECK(shards[0].images.extent(0) == 2);
  CHECK(shards[2].labels.size() == 1);
  CHECK(shards[2].labels[0] == 5);
  CHECK(shards[1].scale == 0.25F);

  const auto back = ls::gather(shards);
  static_assert(
      std::is_same_v<decltype(back), const std::tuple<pictures, ls::batch_of<std::int64_t>, std::array<float, 3>>>,
      "a struct of views cannot own what was gathered");
  CHECK(elements(std::get<0>(back)) == elements(images));
  CHECK(elements(std::get<1>(back)) == labels);

  auto writable = counted(3);
  std::vector<std::int64_t> numbers{7, 8, 9};
  const outer deep{{writable.view()}, numbers, 3};
  const auto deep_shards = ls::scatter<2>(deep);
  static_assert(std::is_same_v<decltype(deep_shards), const std::array<outer, 2>>);
  CHECK(deep_shards[1].nested.images.data_handle() == writable.data() + 12);
  CHECK(deep_shards[1].labels[0] == 9);
  CHECK(deep_shards[1].epoch == 3);
  const auto deep_back = ls::gather(deep_shards);
  CHECK(elements(std::get<0>(std::get<0>(deep_back))) == elements(writable));
  CHECK(elements(std::get<1>(deep_back)) == numbers);
}

TEST_CASE("a struct of tensors scatters into tuples of views and gathers into itself", "[scatter]") {
  tensors whole{counted(5), counted<ls::batch_of<std::int64_t>>(5)};
  const auto shards = ls::scatter<2>(whole);
  static_assert(
      std::is_same_v<decltype(shards), const std::array<std::tuple<picture_view, ls::batch_view<std::int64_t>>, 2>>);
  CHECK(std::get<0>(shards[1]).data_handle() == whole.images.data() + 18);
  CHECK(std::get<1>(shards[1])(1) == 5);
  const auto parts = ls::gather(shards);
  CHECK(elements(std::get<0>(parts)) == elements(whole.images));

  const std::array<tensors, 2> outputs{tensors{counted(2), counted<ls::batch_of<std::int64_t>>(2)}, whole};
  const auto joined = ls::gather(outputs);
  static_assert(std::is_same_v<decltype(joined), const tensors>);
  CHECK(joined.images.samples() == 7);
  CHECK(joined.images(2, 0, 0) == 1.F);
  CHECK(joined.labels(6) == 5);

  nested_tensors deep{{counted(3), counted<ls::batch_of<std::int64_t>>(3)}, counted(3)};
  CHECK(std::get<0>(std::get<0>(ls::scatter<2>(deep)[1])).extent(0) == 1);
  const auto deep_joined = ls::gather(std::array<nested_tensors, 2>{deep, deep});
  static_assert(std::is_same_v<decltype(deep_joined), const nested_tensors>);
  CHECK(deep_joined.both.labels.samples() == 6);
}

TEST_CASE("batches of different lengths do not scatter together", "[scatter]") {
  const auto five = counted(5);
  const auto four = counted(4);
  const auto tuple = std::make_tuple(five.view(), four.view());
  CHECK_THROWS_AS(ls::scatter<2>(tuple), ls::shape_error);
  CHECK_THROWS_WITH(ls::scatter<2>(tuple), Catch::Contains("of one length, 5") && Catch::Contains("got 4"));
  const std::vector<std::int64_t> labels(6);
  const views whole{five.view(), labels, 1.F};
  CHECK_THROWS_AS(ls::scatter<2>(whole), ls::shape_error);
}

TEST_CASE("empty shards gather into the same batch", "[scatter]") {
  const auto whole = counted(2);
  const auto shards = ls::scatter<5>(whole);
  CHECK(shards[2].extent(0) == 0);
  CHECK(shards[4].extent(0) == 0);
  CHECK(elements(ls::gather(shards)) == elements(whole));
}

TEST_CASE("replicate makes deep copies", "[replicate]") {
  const auto whole = counted(2);
  auto copies = ls::replicate<3>(whole);
  static_assert(std::is_same_v<decltype(copies), std::array<pictures, 3>>);
  copies[1](0, 0, 0) = 99.F;
  CHECK(elements(copies[0]) == elements(whole));
  CHECK(elements(copies[2]) == elements(whole));
  CHECK(copies[0].data() != whole.data());
}
