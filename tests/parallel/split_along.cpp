// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/scatter.hpp>
#include <lockstep/parallel/split/along.hpp>
#include <lockstep/parallel/split/even.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

template <class Tensor>
Tensor counted(std::int64_t samples = 0) {
  Tensor t = [&] {
    if constexpr (Tensor::shape_type::is_dynamic)
      return Tensor(samples);
    else
      return Tensor();
  }();
  std::iota(t.begin(), t.end(), typename Tensor::value_type{1});
  return t;
}

template <class Tensor>
std::vector<typename Tensor::value_type> elements(const Tensor& t) {
  return {t.begin(), t.end()};
}

using sentences = ls::batch_of<int, 6, 2>;               // batch, time, feature
using time_first = ls::tensor<int, ls::shape<6, 4, 2>>;  // time, batch, feature
using time_labels = ls::tensor<long, ls::shape<6, 4>>;   // time, batch
using four_dimensions = ls::tensor<int, ls::shape<2, 3, 4, 5>>;

struct sequence_views {
  ls::tensor_view<const int, ls::shape<6, 4, 2>> words;
  ls::tensor_view<const long, ls::shape<6, 4>> labels;
  float rate;
};

struct with_table {
  ls::batch_view<const int, 6, 2> words;
  std::reference_wrapper<const time_labels> table;
};

struct output {
  ls::batch_of<int, 4> hidden;
  ls::batch_of<int, 2> last;
};

}  // namespace

TEST_CASE("along dimension 0 scatters views, without a copy", "[along]") {
  auto batch = counted<sentences>(5);
  const auto shards = ls::scatter<2>(batch, ls::along<0>);
  static_assert(std::is_same_v<decltype(shards), const std::array<ls::batch_view<int, 6, 2>, 2>>);
  CHECK(shards[1].data_handle() == batch.data() + 3 * 12);
  CHECK(shards[1].extent(0) == 2);
  CHECK(elements(ls::gather(shards, ls::along<0>)) == elements(batch));

  // A static extent is cut too; without a named dimension such a tensor goes whole to each replica.
  const auto fixed = counted<time_first>();
  const auto steps = ls::scatter<3>(fixed, ls::along<0>);
  static_assert(std::is_same_v<decltype(steps), const std::array<ls::tensor_view<const int, ls::shape<2, 4, 2>>, 3>>);
  CHECK(steps[2].data_handle() == fixed.data() + 32);
  const auto back = ls::gather(steps, ls::along<0>);
  static_assert(std::is_same_v<decltype(back), const time_first>);
  CHECK(elements(back) == elements(fixed));
  static_assert(std::is_same_v<decltype(ls::scatter<3>(fixed)), std::array<time_first, 3>>);

  const auto uneven = ls::scatter<3>(fixed, ls::along<0>, ls::batch_split<3>({1, 5, 0}));
  static_assert(std::is_same_v<decltype(uneven), const std::array<ls::batch_view<const int, 4, 2>, 3>>);
  CHECK(uneven[1].data_handle() == fixed.data() + 8);
  CHECK(elements(ls::gather(uneven)) == elements(fixed));

  std::vector<int> numbers{1, 2, 3};
  const std::span<int> span(numbers);
  static_assert(std::is_same_v<decltype(ls::scatter<2>(span, ls::along<0>)), std::array<std::span<int>, 2>>);
  CHECK(ls::scatter<2>(span, ls::along<0>)[1].data() == numbers.data() + 2);
}

TEST_CASE("along another dimension each replica gets a tensor of its own", "[along]") {
  auto batch = counted<sentences>(5);
  auto parts = ls::scatter<3>(batch, ls::along<1>);
  static_assert(std::is_same_v<decltype(parts), std::array<ls::batch_of<int, 2, 2>, 3>>);
  for (std::int64_t r = 0; r < 3; ++r) {
    auto& part = parts[static_cast<std::size_t>(r)];
    REQUIRE(part.samples() == 5);
    for (std::int64_t b = 0; b < 5; ++b)
      for (std::int64_t t = 0; t < 2; ++t)
        for (std::int64_t f = 0; f < 2; ++f) CHECK(part(b, t, f) == batch(b, 2 * r + t, f));
  }
  const auto back = ls::gather(parts, ls::along<1>);
  static_assert(std::is_same_v<decltype(back), const sentences>);
  CHECK(elements(back) == elements(batch));

  parts[0](0, 0, 0) = 99;
  CHECK(batch(0, 0, 0) == 1);

  static_assert(std::is_same_v<decltype(ls::scatter<2>(batch, ls::along<2>)), std::array<ls::batch_of<int, 6, 1>, 2>>);
  CHECK(elements(ls::gather(ls::scatter<2>(batch, ls::along<2>), ls::along<2>)) == elements(batch));
  CHECK(elements(ls::scatter<1>(batch, ls::along<1>)[0]) == elements(batch));

  const auto empty = counted<sentences>(0);
  CHECK(ls::scatter<3>(empty, ls::along<1>)[2].samples() == 0);
  CHECK(ls::gather(ls::scatter<3>(empty, ls::along<1>), ls::along<1>).samples() == 0);
}

TEST_CASE("gather along a dimension puts each element where indices say", "[along]") {
  const std::array<four_dimensions, 3> parts{counted<four_dimensions>(), counted<four_dimensions>(),
                                             counted<four_dimensions>()};
  auto joined = ls::gather(parts, ls::along<2>);
  static_assert(std::is_same_v<decltype(joined), ls::tensor<int, ls::shape<2, 3, 12, 5>>>);
  bool same = true;
  for (std::int64_t a = 0; a < 2; ++a)
    for (std::int64_t b = 0; b < 3; ++b)
      for (std::int64_t c = 0; c < 12; ++c)
        for (std::int64_t d = 0; d < 5; ++d)
          same = same && joined(a, b, c, d) == parts[static_cast<std::size_t>(c / 4)](a, b, c % 4, d);
  CHECK(same);
  const auto split_again = ls::scatter<3>(joined, ls::along<2>);
  CHECK(elements(split_again[1]) == elements(parts[1]));
  CHECK(ls::gather(parts, ls::along<3>)(1, 2, 3, 14) == parts[2](1, 2, 3, 4));
  CHECK(ls::gather(parts, ls::along<0>)(5, 2, 3, 4) == parts[2](1, 2, 3, 4));
}

TEST_CASE("a split along another dimension gives strided views, and gather_into joins them", "[along]") {
  auto batch = counted<sentences>(3);
  const auto parts = ls::scatter<3>(batch, ls::along<1>, ls::batch_split<3>({1, 0, 5}));
  CHECK(parts[0].extent(1) == 1);
  CHECK(parts[1].extent(1) == 0);
  CHECK(parts[2].extent(1) == 5);
  CHECK(parts[2].data_handle() == batch.data() + 2);  // no copy
  for (std::int64_t b = 0; b < 3; ++b)
    for (std::int64_t t = 0; t < 5; ++t)
      for (std::int64_t f = 0; f < 2; ++f) CHECK(&parts[2](b, t, f) == &batch(b, 1 + t, f));

  sentences back(3);
  ls::gather_into(parts, ls::along<1>, back);
  CHECK(elements(back) == elements(batch));
  CHECK_THROWS_AS(ls::scatter<3>(batch, ls::along<1>, ls::batch_split<3>({1, 0, 4})), ls::value_error);

  // Along the last dimension the parts have no two neighbours in memory.
  const auto features = ls::scatter<2>(batch, ls::along<2>, ls::even_split<2>(2));
  sentences again(3);
  ls::gather_into(features, ls::along<2>, again);
  CHECK(elements(again) == elements(batch));

  auto nothing = counted<sentences>(0);
  CHECK(ls::scatter<2>(nothing, ls::along<1>, ls::batch_split<2>({2, 4}))[1].extent(1) == 4);
}

TEST_CASE("strided views are batches as others are", "[along]") {
  auto batch = counted<sentences>(4);
  const auto features = ls::scatter<2>(batch, ls::along<2>, ls::even_split<2>(2));
  const auto shards = ls::scatter<2>(features[1]);
  CHECK(shards[1].extent(0) == 2);
  CHECK(&shards[1](1, 5, 0) == &batch(3, 5, 1));

  // Of a strided view a tensor can be cut, too.
  const auto times = ls::scatter<3>(features[1], ls::along<1>);
  CHECK(times[2](3, 1, 0) == batch(3, 5, 1));
}

TEST_CASE("views whose inner extents are known at run time scatter into strided views", "[along]") {
  std::vector<float> memory(3 * 5);
  std::iota(memory.begin(), memory.end(), 0.F);
  const cuda::std::mdspan<float, cuda::std::dextents<std::int64_t, 2>> matrix(memory.data(), 3, 5);
  const auto columns = ls::scatter<2>(matrix, ls::along<1>);
  CHECK(columns[0].extent(1) == 3);
  CHECK(columns[1].extent(1) == 2);
  CHECK(columns[1](2, 1) == 14.F);
  const auto matrix_rows = ls::scatter<2>(matrix);
  CHECK(matrix_rows[1].extent(0) == 1);
  CHECK(matrix_rows[1].extent(1) == 5);
  CHECK(matrix_rows[1].data_handle() == memory.data() + 10);

  std::vector<float> out(15);
  ls::gather_into(columns, ls::along<1>, decltype(matrix)(out.data(), 3, 5));
  CHECK(out == memory);
}

TEST_CASE("named dimensions reach into structs and tuples, of one extent", "[along]") {
  const auto words = counted<time_first>();
  const auto labels = counted<time_labels>();
  const sequence_views inputs{words.view(), labels.view(), 0.5F};
  const auto parts = ls::scatter<2>(inputs, ls::along<1>);
  static_assert(
      std::is_same_v<
          decltype(parts),
          const std::array<std::tuple<ls::tensor<int, ls::shape<6, 2, 2>>, ls::tensor<long, ls::shape<6, 2>>, float>,
                           2>>);
  CHECK(std::get<0>(parts[1])(5, 1, 1) == words(5, 3, 1));
  CHECK(std::get<1>(parts[1])(5, 0) == labels(5, 2));
  CHECK(std::get<2>(parts[1]) == 0.5F);
  const auto back = ls::gather(parts, ls::along<1>);
  CHECK(elements(std::get<0>(back)) == elements(words));
  CHECK(elements(std::get<1>(back)) == elements(labels));
  CHECK(std::get<2>(back) == std::array<float, 2>{0.5F, 0.5F});

  // Shared whole, although it has the dimension.
  const auto table = counted<time_labels>();
  const auto both = std::tuple(words.view(), std::cref(table));
  CHECK(&std::get<1>(ls::scatter<2>(both, ls::along<1>)[1]).get() == &table);
  const auto batch = counted<sentences>(3);
  const with_table named{batch.view(), table};
  static_assert(std::is_same_v<decltype(ls::scatter<2>(named)), std::array<with_table, 2>>);
  CHECK(&ls::scatter<2>(named)[1].table.get() == &table);

  std::vector<int> memory(6 * 3);
  const auto mixed =
      std::make_pair(words.view(), cuda::std::mdspan<int, cuda::std::dextents<std::int64_t, 2>>(memory.data(), 6, 3));
  CHECK_THROWS_AS(ls::scatter<2>(mixed, ls::along<1>), ls::shape_error);  // 4 and 3
}

TEST_CASE("parts of unlike extents do not join", "[along]") {
  const std::array<ls::batch_of<int, 2>, 2> parts{counted<ls::batch_of<int, 2>>(3), counted<ls::batch_of<int, 2>>(4)};
  CHECK_THROWS_AS(ls::gather(parts, ls::along<1>), ls::shape_error);
  CHECK_THROWS_WITH(ls::gather(parts, ls::along<1>), Catch::Contains("3x2") && Catch::Contains("4x2 from replica 1"));
  CHECK(ls::gather(parts).samples() == 7);
}

TEST_CASE("a struct of tensors keeps its type where the joined tensors have it", "[along]") {
  const std::array<output, 1> one{output{counted<ls::batch_of<int, 4>>(3), counted<ls::batch_of<int, 2>>(3)}};
  static_assert(std::is_same_v<decltype(ls::gather(one, ls::along<1>)), output>);
  const std::array<output, 2> two{one[0], one[0]};
  const auto joined = ls::gather(two, ls::along<1>);
  static_assert(std::is_same_v<decltype(joined), const std::tuple<ls::batch_of<int, 8>, ls::batch_of<int, 4>>>);
  CHECK(std::get<0>(joined)(2, 7) == two[0].hidden(2, 3));
}
