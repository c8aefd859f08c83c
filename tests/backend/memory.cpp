// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/backend/backend.hpp>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

/// All elements of a buffer, without the guards of `array`.
template <class B, class T>
std::vector<T> read_all(const typename B::template buffer<T>& buffer) {
  auto& c = shared_context<B>();
  std::vector<T> all(static_cast<std::size_t>(buffer.size()), T{99});
  B::copy_out(c, buffer.size(), buffer.data(), all.data());
  B::finish(c);
  return all;
}

/// n values of type T, each another one.
template <class T>
std::vector<T> counted(std::int64_t n, T first) {
  std::vector<T> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), first);
  return all;
}

template <class B, class T>
void check_buffer() {
  entered<B> e;
  for (const std::int64_t n : {1, 63, 1000, 70000}) {
    CAPTURE(B::name, sizeof(T), n);
    auto buffer = B::template allocate<T>(e.context, n);
    REQUIRE(buffer.size() == n);
    CHECK(read_all<B, T>(buffer) == std::vector<T>(static_cast<std::size_t>(n), T{0}));

    const std::vector<T> values = counted(n, T{7});
    B::copy_in(e.context, n, values.data(), buffer.data());
    CHECK(read_all<B, T>(buffer) == values);

    // A part, from and to the middle.
    const std::int64_t first = n / 3;
    const std::int64_t count = n / 2;
    auto expected = values;
    for (std::int64_t i = 0; i < count; ++i) expected[static_cast<std::size_t>(first + i)] = values.front();
    const std::vector<T> same(static_cast<std::size_t>(count), values.front());
    B::copy_in(e.context, count, same.data(), buffer.data() + first);
    CHECK(read_all<B, T>(buffer) == expected);
    std::vector<T> part(static_cast<std::size_t>(n), T{3});
    B::copy_out(e.context, count, buffer.data() + first, part.data());
    B::finish(e.context);
    std::vector<T> expected_part(static_cast<std::size_t>(n), T{3});
    std::fill_n(expected_part.begin(), count, values.front());
    CHECK(part == expected_part);

    const T* address = buffer.data();
    auto moved = std::move(buffer);
    CHECK(moved.data() == address);
    CHECK(read_all<B, T>(moved) == expected);
    decltype(moved) assigned;
    CHECK(assigned.size() == 0);
    assigned = std::move(moved);
    CHECK(assigned.data() == address);
    CHECK(read_all<B, T>(assigned) == expected);
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every backend under test models the concept", "[memory]", backends) {
  STATIC_REQUIRE(ls::backend<TestType>);
  CHECK(!TestType::name.empty());
  CHECK(TestType::largest_pass >= 1);
  CHECK(TestType::cache_bytes >= 1);
}

TEMPLATE_LIST_TEST_CASE("a buffer is zero at first, and takes and gives values of the host", "[memory]", backends) {
  check_buffer<TestType, float>();
  check_buffer<TestType, double>();
  check_buffer<TestType, std::int32_t>();
  check_buffer<TestType, std::int64_t>();
}

TEMPLATE_LIST_TEST_CASE("a buffer of no elements is allowed", "[memory]", backends) {
  using B = TestType;
  entered<B> e;
  auto none = B::template allocate<double>(e.context, 0);
  CHECK(none.size() == 0);
  double value = 5;
  B::copy_in(e.context, 0, &value, none.data());
  B::copy_out(e.context, 0, none.data(), &value);
  B::copy(e.context, 0, none.data(), none.data());
  B::clear(e.context, 0, none.data());
  B::finish(e.context);
  CHECK(value == 5);
}

TEMPLATE_LIST_TEST_CASE("copy_in has read the host's values once the context has finished", "[memory]", backends) {
  using B = TestType;
  entered<B> e;
  const std::int64_t n = 200000;
  auto buffer = B::template allocate<double>(e.context, n);
  const auto first = counted(n, 0.0);
  auto source = first;
  B::copy_in(e.context, n, source.data(), buffer.data());
  B::finish(e.context);
  source.assign(source.size(), -1);
  CHECK(read_all<B, double>(buffer) == first);
}

TEMPLATE_LIST_TEST_CASE("copy and clear change their range and nothing else", "[memory]", backends) {
  using B = TestType;
  entered<B> e;
  for (const std::int64_t n : {1, 5, 64, 1000, 70000})
    for (const std::int64_t shift : {0, 3}) {
      CAPTURE(B::name, n, shift);
      const doubles x = uniform(n, 1);
      array<B> from(x, shift);
      array<B> to(filled(n, poison), 2 * shift);
      B::copy(e.context, n, from.data(), to.data());
      check_close(to.read(), x, 0);
      check_close(from.read(), x, 0);

      // An inner range.
      const std::int64_t first = n / 4;
      const std::int64_t count = n / 2;
      doubles want = x;
      for (std::int64_t i = 0; i < count; ++i)
        want[static_cast<std::size_t>(first + i)] = x[static_cast<std::size_t>(i)];
      B::copy(e.context, count, from.data(), to.data() + first);
      check_close(to.read(), want, 0);
      for (std::int64_t i = 0; i < count; ++i) want[static_cast<std::size_t>(first + i)] = 0;
      B::clear(e.context, count, to.data() + first);
      check_close(to.read(), want, 0);
    }
  array<B, std::int64_t> whole_numbers({1, 2, 3});
  B::clear(e.context, 2, whole_numbers.data());
  CHECK(whole_numbers.read() == doubles{0, 0, 3});
  array<B, double> numbers({1, 2, 3});
  B::copy(e.context, 1, numbers.data() + 2, numbers.data());
  CHECK(numbers.read() == doubles{3, 2, 3});
}

TEMPLATE_LIST_TEST_CASE("a mirrored value goes from side to side", "[memory]", backends) {
  using B = TestType;
  entered<B> e;
  const auto on_device = [&](auto& value) {
    std::remove_cvref_t<decltype(value.host())> copy{};
    B::copy_out(e.context, 1, value.get(), &copy);
    B::finish(e.context);
    return copy;
  };

  typename B::template mirrored<ls::step_values> now(e.context);
  CHECK(now.host().scale == 1);
  CHECK(now.host().first_sample == 0);
  const auto fresh = on_device(now);
  CHECK(fresh.scale == 1);
  CHECK(fresh.seed == 0);
  CHECK(fresh.step == 0);
  CHECK(fresh.first_sample == 0);

  for (const std::uint64_t step : {1U, 2U, 3U}) {
    now.host() = {.scale = 0.5, .seed = std::uint64_t{1} << 63U, .step = step, .first_sample = -4};
    now.send(e.context);
    const auto sent = on_device(now);
    CHECK(sent.scale == 0.5);
    CHECK(sent.seed == std::uint64_t{1} << 63U);
    CHECK(sent.step == step);
    CHECK(sent.first_sample == -4);
    CHECK(now.host().step == step);
  }

  typename B::template mirrored<ls::update_terms> terms(e.context);
  array<B, double> squares({9, 16});
  B::gradient_norm(e.context, 2, squares.data(), 1, terms.get());
  terms.fetch(e.context);
  B::finish(e.context);
  CHECK(terms.host().norm == 5);
  CHECK(terms.host().finite == 1);

  // Work reads what was sent before it was given.
  typename B::template mirrored<double> sum(e.context);
  array<B, double> seen({poison, poison});
  sum.host() = 11;
  sum.send(e.context);
  B::copy(e.context, 1, sum.get(), seen.data());
  sum.host() = 12;
  sum.send(e.context);
  B::copy(e.context, 1, sum.get(), seen.data() + 1);
  CHECK(seen.read() == doubles{11, 12});
}

TEMPLATE_LIST_TEST_CASE("finish returns when all work is done", "[memory]", backends) {
  using B = TestType;
  entered<B> e;
  B::finish(e.context);  // nothing to wait for
  B::finish(e.context);
  const std::int64_t n = 100000;
  const int rounds = 50;
  array<B> one(filled(n, 1));
  array<B> sum(filled(n, 0));
  for (int k = 0; k < rounds; ++k) B::add(e.context, n, one.data(), sum.data());
  std::vector<typename B::value_type> got(static_cast<std::size_t>(n));
  B::copy_out(e.context, n, sum.data(), got.data());
  B::finish(e.context);
  CHECK(got == std::vector<typename B::value_type>(static_cast<std::size_t>(n), rounds));
}
