// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/reference/reference.hpp>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

static_assert(ls::joins_values<oracle>);

/// Draws with zeros of both signs, infinities and a NaN among them where there is room.
template <class B>
doubles awkward(std::int64_t n, std::uint64_t key) {
  doubles x = held<B>(uniform(n, key));
  const double special[] = {0.0, -0.0, infinity, -infinity, poison};
  for (std::size_t i = 0; i < 5 && 3 * i + 1 < x.size(); ++i) x[3 * i + 1] = special[i];
  return x;
}

template <class B>
void check_sum(typename B::context& c, std::int64_t n, bool relu) {
  CAPTURE(B::name, n, relu);
  const doubles a = awkward<B>(n, 1);
  const doubles b = awkward<B>(n, 2);
  doubles want = a;
  for (std::size_t i = 0; i < want.size(); ++i) {
    want[i] += b[i];
    if (relu && want[i] < 0) want[i] = 0;  // a NaN stays
  }
  const double allowed = std::max(rounding<B>, 0x1p-23);
  array<B> pa(a);
  array<B> pb(b, 1);  // ranges of values begin anywhere
  array<B> py(filled(n, poison), 3);
  B::sum(c, n, pa.data(), pb.data(), relu, py.data());
  check_close(py.read(), want, 0, allowed);
  check_close(pa.read(), a, 0);
  check_close(pb.read(), b, 0);

  B::sum(c, n, pa.data(), pb.data(), relu, pa.data());
  check_close(pa.read(), want, 0, allowed);
  pa.write(a);
  B::sum(c, n, pa.data(), pb.data(), relu, pb.data());
  check_close(pb.read(), want, 0, allowed);
  // A value and itself.
  doubles twice = a;
  for (double& v : twice) v = relu && v < 0 ? 0 : 2 * v;
  B::sum(c, n, pa.data(), pa.data(), relu, pa.data());
  check_close(pa.read(), twice, 0);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("two values are added, in place too, and a relu keeps a NaN", "[joins]", pass_backends) {
  using B = TestType;
  static_assert(ls::joins_values<B>);
  entered<B> e;
  for (const std::int64_t n : {0, 1, 7, 63, 64, 65, 130, 1000})
    for (const bool relu : {false, true}) check_sum<B>(e.context, n, relu);
}

TEMPLATE_LIST_TEST_CASE("rows are copied between places of unlike strides", "[joins]", pass_backends) {
  using B = TestType;
  entered<B> e;
  struct copy {
    std::int64_t rows, width, from_stride, to_stride;
  };
  for (const copy k : {copy{5, 3, 3, 8}, copy{5, 3, 8, 3}, copy{1, 64, 64, 64}, copy{7, 1, 2, 5}, copy{33, 16, 48, 16},
                       copy{4, 6, 6, 6}, copy{0, 3, 3, 8}}) {
    CAPTURE(B::name, k.rows, k.width, k.from_stride, k.to_stride);
    const auto length = [&](std::int64_t stride) { return k.rows == 0 ? 0 : (k.rows - 1) * stride + k.width; };
    const doubles x = held<B>(uniform(length(k.from_stride), 3));
    const doubles before = held<B>(uniform(length(k.to_stride), 4));
    doubles want = before;  // what lies between the rows stays
    for (std::int64_t r = 0; r < k.rows; ++r)
      for (std::int64_t i = 0; i < k.width; ++i)
        want[static_cast<std::size_t>(r * k.to_stride + i)] = x[static_cast<std::size_t>(r * k.from_stride + i)];
    array<B> px(x, 1);
    array<B> py(before);
    B::copy_rows(e.context, k.rows, k.width, px.data(), k.from_stride, py.data(), k.to_stride);
    check_close(py.read(), want, 0);
    check_close(px.read(), x, 0);
  }
}
