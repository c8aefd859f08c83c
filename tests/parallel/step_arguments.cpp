// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `step` and its siblings take: the same numbers in any container give the same bits.

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cuda/std/mdspan>

#include "parallel/rank_support.hpp"

namespace {

namespace ls = lockstep;
using namespace lockstep_test;

using net = ls::sequential<ls::conv2d<3, 3>, ls::relu, ls::flatten, ls::linear<5>>;
using classifier = ls::model<net, ls::input<2, 4, 4>, ls::cross_entropy>;
using regression = ls::model<ls::sequential<ls::linear<3>>, ls::input<4>, ls::mean_squared_error>;
using trainer_type = ls::data_parallel<classifier, 2>;

constexpr std::int64_t samples = 6;
constexpr std::size_t sample_size = 2 * 4 * 4;

const std::vector<float> pixels = draws<float>(1, samples* std::int64_t{sample_size});
const std::vector<std::int64_t> labels = class_draws(2, samples, 5);

/// What a fresh trainer computes for a batch: the losses of a step, and all parameters after an accumulated one.
template <class Images, class Targets>
std::vector<std::vector<float>> trained(const Images& images, const Targets& targets) {
  trainer_type trainer(ls::sgd{.learning_rate = 0.1F});
  trainer.initialize(ls::seed{3});
  std::vector<std::vector<float>> all{{static_cast<float>(trainer.evaluate(images, targets).loss_sum)}};
  all[0].push_back(static_cast<float>(trainer.step(images, targets)));
  all[0].push_back(static_cast<float>(trainer.accumulate(images, targets, 12.0)));
  all[0].push_back(static_cast<float>(trainer.step(images, targets, 12.0)));
  const auto outputs = trainer.forward(images);
  all.emplace_back(outputs.begin(), outputs.end());
  for (const auto& values : all_values(trainer.parameters())) all.push_back(values);
  return all;
}

const std::vector<std::vector<float>>& expected() {
  static const auto all = trained(batch<classifier>(pixels), labels);
  return all;
}

template <class To, class From>
std::vector<To> as(const std::vector<From>& from) {
  return {from.begin(), from.end()};
}

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const ls::error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEMPLATE_TEST_CASE("labels of any integer type train as std::int64_t do", "[step]", int, unsigned, short, std::int8_t,
                   std::uint8_t, std::uint16_t, long long, std::uint64_t, char) {
  const auto given = as<TestType>(labels);
  CHECK(trained(batch<classifier>(pixels), given) == expected());
}

TEST_CASE("labels may be a span, an array or a C array, and flags where there are two classes", "[step]") {
  const auto images = batch<classifier>(pixels);
  const auto copy = as<int>(labels);
  std::array<std::uint8_t, samples> array{};
  int plain[samples]{};
  for (std::size_t i = 0; i < array.size(); ++i) {
    array[i] = static_cast<std::uint8_t>(labels[i]);
    plain[i] = static_cast<int>(labels[i]);
  }
  CHECK(trained(images, std::span<const int>(copy)) == expected());
  CHECK(trained(images, array) == expected());
  CHECK(trained(images, plain) == expected());
  CHECK(trained(images, std::span<const std::int64_t>(labels)) == expected());

  const std::array flags{true, false, true, true, false, false};
  const std::vector<std::int64_t> numbers{1, 0, 1, 1, 0, 0};
  CHECK(trained(images, flags) == trained(images, numbers));
}

TEST_CASE("images may be a vector, a span, an array, a tensor or a view of extents known at run time", "[step]") {
  std::array<float, samples * sample_size> array{};
  std::copy(pixels.begin(), pixels.end(), array.begin());
  ls::batch_of<float, 2, 4, 4> tensor(samples);
  std::copy(pixels.begin(), pixels.end(), tensor.begin());
  ls::tensor<float, ls::shape<samples, 2, 4, 4>> fixed;
  std::copy(pixels.begin(), pixels.end(), fixed.begin());
  using free_extents = ::cuda::std::dextents<int, 4>;

  CHECK(trained(pixels, labels) == expected());
  CHECK(trained(std::span<const float>(pixels), labels) == expected());
  CHECK(trained(array, as<int>(labels)) == expected());
  CHECK(trained(tensor, labels) == expected());
  CHECK(trained(std::as_const(tensor).view(), labels) == expected());
  CHECK(trained(fixed, labels) == expected());
  CHECK(trained(::cuda::std::mdspan<const float, free_extents>(pixels.data(), samples, 2, 4, 4), labels) == expected());
  CHECK(trained(ls::view<2, 4, 4>(pixels), labels) == expected());
}

namespace {

/// The standard's, or another library's, layout_right: the same places under another name.
struct own_layout_right {
  template <class Extents>
  struct mapping : ::cuda::std::layout_right::mapping<Extents> {
    using layout_type = own_layout_right;
    using ::cuda::std::layout_right::mapping<Extents>::mapping;
  };
};

/// Its default_accessor.
template <class T>
struct own_default_accessor {
  using offset_policy = own_default_accessor;
  using element_type = T;
  using reference = T&;
  using data_handle_type = T*;
  constexpr reference access(T* p, std::size_t i) const noexcept { return p[i]; }
  constexpr T* offset(T* p, std::size_t i) const noexcept { return p + i; }
};

/// Elements a place further on, and elements doubled.
template <class T>
struct shifted_accessor : own_default_accessor<T> {
  constexpr T& access(T* p, std::size_t i) const noexcept { return p[i + 1]; }
};
template <class T>
struct doubled_accessor : own_default_accessor<T> {
  using reference = std::remove_const_t<T>;
  constexpr reference access(T* p, std::size_t i) const noexcept { return 2 * p[i]; }
};

template <class Layout, class Accessor = ::cuda::std::default_accessor<const float>, int Rank = 4>
using viewed = ::cuda::std::mdspan<const float, ::cuda::std::dextents<int, Rank>, Layout, Accessor>;

}  // namespace

TEST_CASE("a view of another library is known by what its layout and accessor do", "[step]") {
  using ls::detail::plainly_accessed;
  using ls::detail::row_major;
  STATIC_REQUIRE(row_major<viewed<::cuda::std::layout_right>>);
  STATIC_REQUIRE(row_major<viewed<own_layout_right>>);
  STATIC_REQUIRE(!row_major<viewed<::cuda::std::layout_left>>);
  STATIC_REQUIRE(!row_major<viewed<::cuda::std::layout_stride>>);
  STATIC_REQUIRE(plainly_accessed<viewed<::cuda::std::layout_right>>);
  STATIC_REQUIRE(plainly_accessed<viewed<::cuda::std::layout_right, own_default_accessor<const float>>>);
  STATIC_REQUIRE(!plainly_accessed<viewed<::cuda::std::layout_right, shifted_accessor<const float>>>);
  STATIC_REQUIRE(!plainly_accessed<viewed<::cuda::std::layout_right, doubled_accessor<const float>>>);

  const viewed<own_layout_right, own_default_accessor<const float>> given(pixels.data(), samples, 2, 4, 4);
  CHECK(trained(given, labels) == expected());
  const auto x = draws<float>(4, 5 * 4);
  const auto values = draws<float>(5, 5 * 3);
  const auto loss = [&](const auto& targets) {
    ls::data_parallel<regression, 2> trainer;
    return trainer.step(x, targets);
  };
  CHECK(loss(viewed<own_layout_right, own_default_accessor<const float>, 2>(values.data(), 5, 3)) == loss(values));
}

TEST_CASE("values as targets may be a tensor or a view of it", "[step]") {
  const auto x = draws<float>(4, 5 * 4);
  ls::batch_of<float, 3> y(5);
  const auto values = draws<float>(5, 5 * 3);
  std::copy(values.begin(), values.end(), y.begin());
  const auto loss = [&](const auto& targets) {
    ls::data_parallel<regression, 2> trainer;
    return trainer.step(x, targets);
  };
  CHECK(loss(y) == loss(values));
  CHECK(loss(y.view()) == loss(values));
}

TEST_CASE("targets in a view of other extents are refused, though there are as many", "[step]") {
  ls::data_parallel<regression, 2> trainer;
  const auto x = draws<float>(5, 6 * 4);
  const auto values = draws<float>(6, 6 * 3);
  using turned = ::cuda::std::mdspan<const float, ::cuda::std::extents<int, 3, 6>>;
  CHECK_THROWS_AS(trainer.step(x, turned(values.data())), ls::shape_error);
  CHECK_THROWS_WITH(trainer.step(x, turned(values.data())), Catch::Contains("targets of 6 samples, 3 each"));
  ls::batch_of<float, 9> wide(2);
  std::copy(values.begin(), values.end(), wide.begin());
  CHECK_THROWS_AS(trainer.step(x, wide), ls::shape_error);
  using right = ::cuda::std::mdspan<const float, ::cuda::std::extents<int, 6, 3>>;
  CHECK(trainer.evaluate(x, right(values.data())).loss() == trainer.evaluate(x, values).loss());
}

TEST_CASE("a batch that does not fit says by how much, and the trainer stays usable", "[step]") {
  trainer_type trainer(ls::sgd{.learning_rate = 0.1F});
  trainer.initialize(ls::seed{3});
  const std::vector<float> odd(100);
  CHECK(message_of([&] { trainer.step(odd, labels); }) ==
        "lockstep: data_parallel: expected 32 values a sample (2x4x4), got 100 values: 3 samples and 4 over");
  CHECK(message_of([&] { static_cast<void>(trainer.forward(odd)); }) ==
        "lockstep: data_parallel: expected 32 values a sample (2x4x4), got 100 values: 3 samples and 4 over");
  using free_extents = ::cuda::std::dextents<int, 4>;
  const ::cuda::std::mdspan<const float, free_extents> turned(pixels.data(), samples, 4, 4, 2);
  CHECK(message_of([&] { trainer.step(turned, labels); }) ==
        "lockstep: data_parallel: expected samples of 2x4x4, got samples of 4x4x2");
  CHECK(message_of([&] { trainer.step(pixels, as<int>(class_draws(2, 5, 5))); }) ==
        "lockstep: data_parallel: expected 6 targets for 6 samples, got 5");

  auto wrong = as<int>(labels);
  wrong[4] = 5;
  CHECK(message_of([&] { trainer.step(pixels, wrong); }) ==
        "lockstep: cross_entropy: expected a target in 0..4 or -100 (ignored), got 5 for sample 4");
  // It would be -100, which is ignored, were it converted as it is.
  auto huge = as<std::uint64_t>(labels);
  huge[3] = std::numeric_limits<std::uint64_t>::max() - 99;
  CHECK(message_of([&] { trainer.step(pixels, huge); }) ==
        "lockstep: data_parallel: expected targets that are class indices, got 18446744073709551516 for sample 3");

  CHECK(trainer.steps() == 0);
  CHECK(static_cast<float>(trainer.step(pixels, labels)) == expected()[0][1]);
}

TEST_CASE("labels are copied only where they must be, into memory that is kept", "[step]") {
  ls::detail::label_buffer<std::int64_t> kept;
  const auto take = [&](const auto& targets) { return ls::detail::take_targets<std::int64_t>("test", targets, kept); };
  CHECK(take(labels).data() == labels.data());
  CHECK(take(std::span<const std::int64_t>(labels)).data() == labels.data());

  const std::int64_t* const place = take(std::vector<int>(64)).data();
  for (const std::size_t count : {1U, 64U, 17U, 63U}) {
    const std::vector<int> fewer(count, 2);
    const auto taken = take(fewer);
    CHECK(taken.data() == place);
    CHECK(std::vector<std::int64_t>(taken.begin(), taken.end()) == std::vector<std::int64_t>(count, 2));
  }
}

TEST_CASE("what one rank cannot take ends the call on all, and the next one works", "[step][ranks]") {
  const auto messages = run_ranks(2, [](ls::comm::thread_rank& link) {
    const int rank = link.rank();
    ls::data_parallel<classifier, 1, ls::comm::thread_rank> trainer(ls::sgd{.learning_rate = 0.1F}, std::move(link));
    const std::vector<float> odd(rank == 0 ? 100 : 3 * sample_size);
    const std::vector<int> few(3);
    const std::string said = message_of([&] { trainer.step(odd, few); });
    expect(said != "nothing was thrown", "every rank throws");
    if (rank == 0) expect_contains(said, "100 values: 3 samples and 4 over");
    expect(trainer.steps() == 0);
    static_cast<void>(trainer.step(pixels, labels));
    expect(trainer.steps() == 1);
  });
  check_no_failure(messages);
}
