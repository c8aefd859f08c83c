// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/scatter.hpp>
#include <lockstep/parallel/split/even.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

using rows = ls::batch_of<float, 2>;
using labels = ls::batch_of<std::int64_t>;
using scalar = ls::tensor<float, ls::shape<>>;

template <class Tensor>
Tensor counted(std::int64_t samples, typename Tensor::value_type first = 1) {
  Tensor t(samples);
  std::iota(t.begin(), t.end(), first);
  return t;
}

template <class Tensor>
std::vector<typename Tensor::value_type> elements(const Tensor& t) {
  return {t.begin(), t.end()};
}

struct output {
  rows logits;
  labels best;
  float loss;
};

struct destination {
  ls::batch_view<float, 2> logits;
  std::span<std::int64_t> best;
  std::array<float, 3> losses;
};

std::array<output, 3> three_outputs() {
  return {output{counted<rows>(2, 1.F), counted<labels>(2, 1), 0.5F}, output{rows(0), labels(0), 0.F},
          output{counted<rows>(3, 5.F), counted<labels>(3, 3), 0.25F}};
}

scalar scalar_of(float value) {
  scalar s;
  *s.data() = value;
  return s;
}

}  // namespace

TEST_CASE("scalar outputs become a vector in the order of the replicas, empty shards included", "[gather]") {
  const auto joined = ls::gather(three_outputs());
  CHECK(std::get<2>(joined) == std::array<float, 3>{0.5F, 0.F, 0.25F});

  const std::array<scalar, 3> losses{scalar_of(3.F), scalar_of(1.F), scalar_of(2.F)};
  const auto vector = ls::gather(losses);
  static_assert(std::is_same_v<decltype(vector), const ls::tensor<float, ls::shape<3>>>);
  CHECK(elements(vector) == std::vector<float>{3, 1, 2});
  CHECK(elements(ls::gather(losses, ls::along<1>)) == std::vector<float>{3, 1, 2});

  const std::array<ls::tensor_view<const float, ls::shape<>>, 2> views{losses[1].view(), losses[0].view()};
  CHECK(elements(ls::gather(views)) == std::vector<float>{1, 3});
  CHECK(ls::gather(std::array<bool, 2>{true, false}) == std::array<bool, 2>{true, false});
}

TEST_CASE("gather_into writes what gather returns into memory of the caller", "[gather]") {
  const auto parts = three_outputs();
  const auto expected = ls::gather(parts);

  SECTION("a struct of views, a span and an array") {
    rows logits(5);
    std::vector<std::int64_t> best(5);
    destination out{logits.view(), best, {}};
    ls::gather_into(parts, out);
    CHECK(elements(logits) == elements(std::get<0>(expected)));
    CHECK(best == elements(std::get<1>(expected)));
    CHECK(out.losses == std::get<2>(expected));
  }
  SECTION("std::tie of tensors") {
    rows logits(5);
    labels best(5);
    ls::tensor<float, ls::shape<3>> losses;
    const float* memory = logits.data();
    ls::gather_into(parts, std::tie(logits, best, losses));
    CHECK(logits.data() == memory);
    CHECK(elements(logits) == elements(std::get<0>(expected)));
    CHECK(elements(best) == elements(std::get<1>(expected)));
    CHECK(elements(losses) == std::vector<float>{0.5F, 0.F, 0.25F});
  }
  SECTION("a view of part of a larger tensor") {
    rows large(9);
    const std::array<rows, 2> batches{counted<rows>(2), counted<rows>(1, 9.F)};
    ls::gather_into(batches, ls::scatter<3>(large, ls::batch_split<3>({4, 3, 2}))[1]);
    std::vector<float> around(18);
    const std::vector<float> inside{1, 2, 3, 4, 9, 10};
    std::copy(inside.begin(), inside.end(), around.begin() + 8);
    CHECK(elements(large) == around);
  }
  SECTION("scalars in rank 0 into a span") {
    std::vector<float> vector(2);
    ls::gather_into(std::array{scalar_of(4.F), scalar_of(5.F)}, std::span(vector));
    CHECK(vector == std::vector<float>{4, 5});
  }
}

TEST_CASE("gather_into along another dimension", "[gather]") {
  const std::array<rows, 3> parts{counted<rows>(2, 1.F), counted<rows>(2, 5.F), counted<rows>(2, 9.F)};
  ls::batch_of<float, 6> out(2);
  ls::gather_into(parts, ls::along<1>, out);
  CHECK(elements(out) == std::vector<float>{1, 2, 5, 6, 9, 10, 3, 4, 7, 8, 11, 12});
  CHECK(elements(out) == elements(ls::gather(parts, ls::along<1>)));

  // Into the middle columns of a wider one.
  ls::batch_of<float, 8> wide(2);
  const auto columns = ls::scatter<3>(wide, ls::along<1>, ls::batch_split<3>({1, 6, 1}));
  ls::gather_into(parts, ls::along<1>, columns[1]);
  CHECK(elements(wide) == std::vector<float>{0, 1, 2, 5, 6, 9, 10, 0, 0, 3, 4, 7, 8, 11, 12, 0});
}

TEST_CASE("memory of another shape is refused, and nothing is written", "[gather]") {
  const auto parts = three_outputs();
  rows logits(5);
  rows four(4);
  labels best(5);
  labels six(6);
  std::vector<float> losses(3);
  std::vector<float> two(2);
  const auto untouched = [&] {
    return elements(logits) == std::vector<float>(10) && elements(four) == std::vector<float>(8) &&
           elements(best) == std::vector<std::int64_t>(5) && elements(six) == std::vector<std::int64_t>(6) &&
           losses == std::vector<float>(3) && two == std::vector<float>(2);
  };
  std::span<float> three_losses(losses);
  std::span<float> two_losses(two);
  CHECK_THROWS_AS(ls::gather_into(parts, std::tie(four, best, three_losses)), ls::shape_error);
  CHECK_THROWS_AS(ls::gather_into(parts, std::tie(logits, six, three_losses)), ls::shape_error);
  CHECK_THROWS_AS(ls::gather_into(parts, std::tie(logits, best, two_losses)), ls::shape_error);
  CHECK_THROWS_WITH(ls::gather_into(parts, std::tie(four, best, three_losses)),
                    "lockstep: gather_into: expected memory for 5x2, got 4x2; nothing was written");
  CHECK(untouched());
  ls::gather_into(parts, std::tie(logits, best, three_losses));
  CHECK_FALSE(untouched());

  rows uneven(2);
  const std::array<rows, 2> unlike{counted<rows>(2), counted<rows>(3)};
  ls::batch_of<float, 4> joined(2);
  CHECK_THROWS_AS(ls::gather_into(unlike, ls::along<1>, joined), ls::shape_error);
  CHECK(elements(joined) == std::vector<float>(8));
}

TEST_CASE("optional outputs need memory only when they come", "[gather]") {
  using optional_rows = std::optional<rows>;
  const std::array<optional_rows, 2> set{counted<rows>(1), counted<rows>(2)};
  optional_rows out(rows(3));
  const float* memory = out->data();
  ls::gather_into(set, out);
  CHECK(out->data() == memory);
  CHECK(elements(*out) == elements(*ls::gather(set)));

  ls::gather_into(std::array<optional_rows, 2>{}, out);
  CHECK_FALSE(out.has_value());
  CHECK_THROWS_AS(ls::gather_into(set, out), ls::shape_error);

  // An earlier member stays as it was, too.
  const std::array<std::tuple<rows, optional_rows>, 2> mixed{std::tuple(counted<rows>(1), optional_rows(rows(1))),
                                                             std::tuple(counted<rows>(1), optional_rows())};
  std::tuple<rows, optional_rows> memory_for_both(rows(2), rows(1));
  CHECK_THROWS_AS(ls::gather_into(mixed, memory_for_both), ls::value_error);
  CHECK(elements(std::get<0>(memory_for_both)) == std::vector<float>(4));
}

TEST_CASE("replicas that write where the output belongs need no gather, and gather_into leaves it there", "[gather]") {
  const auto in = counted<rows>(7);
  rows out(7);
  struct task {
    ls::batch_view<const float, 2> in;
    ls::batch_view<float, 2> out;
  };
  const task whole{in.view(), out.view()};
  auto tasks = ls::scatter<3>(whole);
  const auto twice = [](const task& t) {
    for (std::int64_t i = 0; i < t.in.extent(0); ++i)
      for (std::int64_t j = 0; j < 2; ++j) t.out(i, j) = 2 * t.in(i, j);
    return t.out;
  };
  std::array<decltype(twice), 3> replicas{twice, twice, twice};
  const auto parts = ls::parallel_apply(replicas, tasks);
  for (std::int64_t i = 0; i < 7; ++i) CHECK(out(i, 1) == 2 * in(i, 1));
  const auto before = elements(out);
  ls::gather_into(parts, out);
  CHECK(elements(out) == before);
}
