// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/table.hpp>

#include <array>
#include <cstdint>
#include <exception>
#include <limits>
#include <list>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <cuda/std/mdspan>

#include <lockstep/data/loader.hpp>
#include <lockstep/data/sampler_basic.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::field;
using lockstep_test::error_of;
using lockstep_test::lacking;

// Three features, a target of two values, a label, and a weight.
using table = data::dataset<field<float, 3>, field<float, 2>, field<std::int64_t>, field<double>>;

/// Every value tells its field, its sample and its place.
table numbered(std::int64_t samples) {
  std::vector<float> features;
  std::vector<float> targets;
  std::vector<std::int64_t> labels;
  std::vector<double> weights;
  for (std::int64_t i = 0; i < samples; ++i) {
    const auto x = static_cast<float>(i);
    features.insert(features.end(), {100 * x, 100 * x + 1, 100 * x + 2});
    targets.insert(targets.end(), {x + 0.25F, x + 0.5F});
    labels.push_back(i);
    weights.push_back(static_cast<double>(i) / 8);
  }
  return table(std::move(features), targets, labels, weights);
}

template <class Range>
std::vector<float> floats(const Range& range) {
  return {range.begin(), range.end()};
}

using pairs = data::dataset<field<float, 2>, field<float>>;

}  // namespace

TEST_CASE("table: a loader yields every field, in a data set's order or another", "[data]") {
  const bool shuffle = GENERATE(false, true);
  const std::int64_t prefetch = GENERATE(0, 2);
  const table all = numbered(23);
  REQUIRE(all.size() == 23);
  data::loader batches{all, {.batch = 5, .shuffle = shuffle, .seed = {3}, .prefetch = prefetch}};
  REQUIRE(batches.epoch_size() == 5);
  std::vector<std::int64_t> expected(23);
  if (shuffle)
    data::shuffled_order(expected, ls::seed{3}, 0);
  else
    for (std::int64_t i = 0; i < 23; ++i) expected[static_cast<std::size_t>(i)] = i;
  std::vector<std::int64_t> seen;
  for (auto&& [features, targets, labels, weights] : batches) {
    static_assert(std::is_same_v<std::remove_cvref_t<decltype(features)>,
                                 ls::tensor_view<const float, ls::shape<ls::dynamic, 3>>>);
    static_assert(std::is_same_v<std::remove_cvref_t<decltype(targets)>, std::span<const float>>);
    static_assert(std::is_same_v<std::remove_cvref_t<decltype(labels)>, std::span<const std::int64_t>>);
    REQUIRE(features.extent(0) == static_cast<std::int64_t>(labels.size()));
    REQUIRE(targets.size() == 2 * labels.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const auto x = static_cast<float>(labels[i]);
      for (int k = 0; k < 3; ++k) CHECK(features(static_cast<std::int64_t>(i), k) == 100 * x + static_cast<float>(k));
      CHECK(targets[2 * i] == x + 0.25F);
      CHECK(targets[2 * i + 1] == x + 0.5F);
      CHECK(weights[i] == static_cast<double>(labels[i]) / 8);
    }
    seen.insert(seen.end(), labels.begin(), labels.end());
  }
  CHECK(seen == expected);
  const auto batch = *batches.begin();
  CHECK(batch.view<1>().extent(1) == 2);
  CHECK(batch.view<1>()(4, 1) == batch.get<1>()[9]);
  CHECK(batch.first_index == 0);
}

TEST_CASE("table: a sampler decides as for pictures", "[data]") {
  const table all = numbered(10);
  data::loader batches{all, {.batch = 3}, data::subset_sampler{{7, 2, 2, 9}, 10}};
  std::vector<std::int64_t> seen;
  for (auto&& [features, targets, labels, weights] : batches) seen.insert(seen.end(), labels.begin(), labels.end());
  CHECK(seen == std::vector<std::int64_t>{7, 2, 2, 9});
}

TEST_CASE("table: one field is enough", "[data]") {
  const data::dataset<field<float, 2>> all(std::vector<float>{1, 2, 3, 4});
  int batches = 0;
  for (auto&& [features] : data::loader{all, {.batch = 1}}) CHECK(features(0, 1) == static_cast<float>(2 * ++batches));
  CHECK(batches == 2);
}

TEST_CASE("table: takes what a user has", "[data]") {
  const std::vector<float> flat{1, 2, 3, 4, 5, 6};
  const auto check = [&](const pairs& made) {
    CHECK(made.size() == 3);
    CHECK(floats(made.values<0>()) == flat);
    CHECK(floats(made.values<1>()) == std::vector<float>{7, 8, 9});
    CHECK(made.at<0>(1)(1) == 4);
  };
  const std::vector<double> targets{7, 8, 9};
  check(pairs(flat, targets));
  check(pairs(std::vector<float>(flat), std::array{7, 8, 9}));
  check(pairs(std::vector<std::array<int, 2>>{{1, 2}, {3, 4}, {5, 6}}, std::list<unsigned char>{7, 8, 9}));
  check(pairs(std::vector<std::vector<double>>{{1, 2}, {3, 4}, {5, 6}},
              std::vector<std::array<float, 1>>{{7}, {8}, {9}}));
  const double rows[3][2] = {{1, 2}, {3, 4}, {5, 6}};
  const float column[3] = {7, 8, 9};
  check(pairs(rows, column));
  check(pairs(std::span<const float>(flat), std::span<const double>(targets)));

  namespace md = ::cuda::std;
  check(pairs(md::mdspan<const float, md::dextents<int, 2>>(flat.data(), 3, 2), md::mdspan(targets.data(), 3)));
  check(pairs(md::mdspan<const float, md::extents<std::size_t, md::dynamic_extent, 2>>(flat.data(), 3), targets));
  // Column-major: element (i, k) lies at i + 3 k.
  const std::vector<float> transposed{1, 3, 5, 2, 4, 6};
  check(pairs(md::mdspan<const float, md::dextents<int, 2>, md::layout_left>(transposed.data(), 3, 2), targets));
  ls::batch_of<float, 2> tensor(3);
  std::copy(flat.begin(), flat.end(), tensor.begin());
  check(pairs(tensor, targets));
}

TEST_CASE("table: a vector of the field's type is moved, not copied", "[data]") {
  std::vector<float> features{1, 2, 3, 4};
  const float* const where = features.data();
  pairs made(std::move(features), std::vector<float>{5, 6});
  CHECK(made.values<0>().data() == where);
  auto columns = std::move(made).release();
  CHECK(std::get<0>(columns).data() == where);
  CHECK(made.size() == 0);
  CHECK(pairs(std::move(columns)).values<0>().data() == where);
}

TEST_CASE("table: is empty once it has been moved from", "[data]") {
  table from = numbered(5);
  const table to = std::move(from);
  CHECK(to.size() == 5);
  CHECK(from.size() == 0);  // NOLINT(bugprone-use-after-move): what is tested
}

TEST_CASE("table: may be empty", "[data]") {
  const pairs none(std::vector<float>{}, std::vector<float>{});
  CHECK(none.size() == 0);
  for (const auto& batch : data::loader{none}) FAIL("an empty set has no batch of " << batch.size());
}

TEST_CASE("table: refuses parts that do not fit, and says which", "[data]") {
  const std::vector<float> six(6);
  const std::vector<float> three(3);
  CHECK(error_of<ls::shape_error>([&] { static_cast<void>(pairs(std::vector<float>(5), three)); }) ==
        "lockstep: dataset: field 0: expected whole samples of 2 elements (2), "
        "got 5 elements, 1 left over");
  CHECK(error_of<ls::shape_error>([&] { static_cast<void>(pairs(six, std::vector<float>(4))); }) ==
        "lockstep: dataset: field 1: expected 3 samples, as field 0 has, got 4");
  CHECK(error_of<ls::shape_error>([&] {
          static_cast<void>(pairs(std::vector<std::vector<float>>{{1, 2}, {3}, {4, 5, 6}}, three));
        }) ==
        "lockstep: dataset: field 0: expected 2 elements (2) in each sample, "
        "got 1 in sample 1");
  namespace md = ::cuda::std;
  CHECK(error_of<ls::shape_error>([&] {
          static_cast<void>((pairs(md::mdspan<const float, md::dextents<int, 2>>(six.data(), 2, 3), three)));
        }) == "lockstep: dataset: field 0: expected samples of 2, got samples of 3");
  using labelled = data::dataset<field<float, 2>, field<std::uint8_t>>;
  CHECK(lacking(error_of<ls::value_error>([&] {
                  static_cast<void>(labelled(six, std::array{1, 2, 256}));
                }),
                {"got 256"}) == "");
  CHECK(lacking(error_of<ls::value_error>([&] {
                  static_cast<void>(labelled(six, std::array{1, -2, 3}));
                }),
                {"got -2"}) == "");
  using indexed = data::dataset<field<float, 2>, field<std::int64_t>>;
  CHECK_THROWS_AS(
      indexed(six, std::array{std::uint64_t{1}, std::uint64_t{2}, std::numeric_limits<std::uint64_t>::max()}),
      ls::value_error);
}

TEST_CASE("table: select takes samples by index", "[data]") {
  const table all = numbered(6);
  const table some = all.select(std::vector<std::int64_t>{4, 0, 4});
  CHECK(floats(some.values<0>()) == std::vector<float>{400, 401, 402, 0, 1, 2, 400, 401, 402});
  CHECK(some.values<2>()[2] == 4);
  CHECK(all.select({}).size() == 0);
  CHECK(lacking(error_of<std::exception>([&] { static_cast<void>(all.select(std::vector<std::int64_t>{6})); }),
                {"indices from 0 to 5, got 6"}) == "");
  CHECK_THROWS_AS(all.select(std::vector<std::int64_t>{-1}), ls::value_error);

  const data::dataset<ls::shape<2>> pictures({1, 2, 3, 4, 5, 6}, {0, 1, 2}, 3, {"a", "b", "c"});
  const auto chosen = pictures.select(std::vector<std::int64_t>{2, 1});
  CHECK(std::vector<int>(chosen.pixels().begin(), chosen.pixels().end()) == std::vector<int>{5, 6, 3, 4});
  CHECK(chosen.label(0) == 2);
  CHECK(chosen.class_names()[2] == "c");
  CHECK_THROWS_AS(pictures.select(std::vector<std::int64_t>{3}), ls::value_error);
}

TEST_CASE("table: pictures become fields as a loader scales them", "[data]") {
  const data::dataset<ls::shape<1, 2>> pictures({0, 255, 51, 102}, {1, 0}, 2);
  const auto fields = data::to_fields(pictures);
  CHECK(floats(fields.values<0>()) == std::vector<float>{0, 1, 51.0F / 255.0F, 102.0F / 255.0F});
  CHECK(fields.values<1>()[0] == 1);
  CHECK(fields.at<0>(1)(0, 1) == 102.0F / 255.0F);
}
