// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/core/tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

using matrix = ls::tensor<float, ls::shape<2, 3>>;
using pictures = ls::batch_of<float, 2, 3>;

static_assert(std::is_same_v<pictures, ls::tensor<float, ls::shape<ls::dynamic, 2, 3>>>);
static_assert(std::is_convertible_v<matrix&, ls::tensor_view<float, ls::shape<2, 3>>>);
static_assert(std::is_convertible_v<const matrix&, ls::tensor_view<const float, ls::shape<2, 3>>>);
static_assert(!std::is_convertible_v<const matrix&, ls::tensor_view<float, ls::shape<2, 3>>>);
static_assert(std::is_convertible_v<pictures&, ls::batch_view<const float, 2, 3>>);
static_assert(!std::is_constructible_v<matrix, std::int64_t>);
static_assert(std::is_nothrow_move_constructible_v<pictures>);
static_assert(matrix::view_type::static_extent(0) == 2);
static_assert(matrix::view_type::static_extent(1) == 3);
static_assert(pictures::view_type::rank_dynamic() == 1);

bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % ls::buffer_alignment == 0; }

pictures counted(std::int64_t samples) {
  pictures t(samples);
  std::iota(t.begin(), t.end(), 1.F);
  return t;
}

float sum(ls::batch_view<const float, 2, 3> view) {
  float total = 0;
  for (std::int64_t s = 0; s < view.extent(0); ++s)
    for (std::int64_t i = 0; i < 2; ++i)
      for (std::int64_t j = 0; j < 3; ++j) total += view(s, i, j);
  return total;
}

}  // namespace

TEST_CASE("a buffer is aligned and zero-filled") {
  for (const std::int64_t size : {1, 2, 3, 15, 16, 17, 1000}) {
    const ls::aligned_buffer<float> buffer(size);
    CHECK(buffer.size() == size);
    CHECK(is_aligned(buffer.data()));
    CHECK(std::all_of(buffer.data(), buffer.data() + size, [](float v) { return v == 0.F; }));
    CHECK(static_cast<std::int64_t>(buffer.span().size()) == size);
  }
}

TEST_CASE("an empty buffer owns nothing") {
  ls::aligned_buffer<double> none;
  CHECK(none.size() == 0);
  CHECK(none.data() == nullptr);
  CHECK(none.span().empty());
  const ls::aligned_buffer<double> zero(0);
  CHECK(zero.data() == nullptr);
  CHECK(zero.span().empty());
}

TEST_CASE("a buffer refuses sizes that no memory has") {
  CHECK_THROWS_AS(ls::aligned_buffer<float>(-1), ls::shape_error);
  CHECK_THROWS_WITH(ls::aligned_buffer<float>(-1), "lockstep: aligned_buffer: expected a size of zero or more, got -1");
  CHECK_THROWS_AS(ls::aligned_buffer<float>(std::numeric_limits<std::int64_t>::max() / 2), ls::shape_error);
}

TEST_CASE("a buffer that was moved from is empty") {
  ls::aligned_buffer<float> from(5);
  const float* bytes = from.data();
  ls::aligned_buffer<float> to(std::move(from));
  CHECK(to.data() == bytes);
  CHECK(to.size() == 5);
  // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
  CHECK(from.data() == nullptr);
  CHECK(from.size() == 0);
  CHECK(from.span().empty());
  // NOLINTEND(bugprone-use-after-move)

  ls::aligned_buffer<float> target(2);
  target = std::move(to);
  CHECK(target.data() == bytes);
  CHECK(target.size() == 5);
  CHECK(to.size() == 0);  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("a static tensor has its elements in row-major order") {
  matrix t;
  CHECK(t.size() == 6);
  CHECK(t.samples() == 2);
  CHECK(is_aligned(t.data()));
  t(1, 2) = 5.F;
  CHECK(t.data()[5] == 5.F);
  t.view()(0, 1) = 3.F;
  CHECK(t.data()[1] == 3.F);
  const matrix& constant = t;
  CHECK(constant(1, 2) == 5.F);
  CHECK(constant.view()(0, 1) == 3.F);
}

TEST_CASE("a tensor without dimensions is a number") {
  ls::tensor<double, ls::shape<>> t;
  CHECK(t.size() == 1);
  t() = 2.5;
  CHECK(t.data()[0] == 2.5);
}

TEST_CASE("a batch has the number of samples it was given") {
  pictures t = counted(4);
  CHECK(t.samples() == 4);
  CHECK(t.size() == 24);
  CHECK(t.view().extent(0) == 4);
  CHECK(t(3, 1, 2) == 24.F);
  CHECK(t(2, 0, 1) == 14.F);
  CHECK(sum(t) == 300.F);
  CHECK(t.end() - t.begin() == 24);
}

TEST_CASE("a batch may be empty and must not be negative") {
  const pictures none(0);
  CHECK(none.samples() == 0);
  CHECK(none.size() == 0);
  CHECK(none.begin() == none.end());
  CHECK(none.view().extent(0) == 0);
  CHECK(sum(none) == 0.F);
  const pictures untouched;
  CHECK(untouched.samples() == 0);
  CHECK_THROWS_AS(pictures(-1), ls::shape_error);
  CHECK_THROWS_WITH(pictures(-3), "lockstep: tensor: expected zero samples or more, got -3");
  CHECK_THROWS_AS(pictures(std::numeric_limits<std::int64_t>::max() / 5), ls::shape_error);
}

TEST_CASE("a copy is a tensor of its own") {
  pictures t = counted(2);
  pictures copy = t;
  CHECK(copy.data() != t.data());
  CHECK(std::equal(copy.begin(), copy.end(), t.begin(), t.end()));
  copy(0, 0, 0) = -1.F;
  CHECK(t(0, 0, 0) == 1.F);

  pictures assigned(7);
  assigned = t;
  CHECK(assigned.samples() == 2);
  CHECK(std::equal(assigned.begin(), assigned.end(), t.begin(), t.end()));
  const pictures& same = assigned;
  assigned = same;
  CHECK(std::equal(assigned.begin(), assigned.end(), t.begin(), t.end()));

  const pictures none(0);
  assigned = none;
  CHECK(assigned.samples() == 0);
  CHECK(assigned.size() == 0);
}

TEST_CASE("a move hands the elements over") {
  pictures t = counted(3);
  const float* bytes = t.data();
  pictures moved = std::move(t);
  CHECK(moved.data() == bytes);
  CHECK(moved.samples() == 3);
  // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
  CHECK(t.samples() == 0);
  CHECK(t.size() == 0);
  CHECK(t.begin() == t.end());
  t = counted(1);
  CHECK(t(0, 1, 2) == 6.F);
  // NOLINTEND(bugprone-use-after-move)
  t = std::move(moved);
  CHECK(t.data() == bytes);
  CHECK(t.samples() == 3);
}
