// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/convolution.hpp>
#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/backend/cuda/linear.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/parameter_layout.hpp>

#include "allocations.hpp"
#include "networks.hpp"
#include "support/catch.hpp"

/// \file
/// What needs no device.

namespace {

namespace ls = lockstep;
namespace backend = ls::cuda_backend;

/// What an exception says.
template <class Error, class F>
std::string message(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("a status of cuBLASLt or cuDNN becomes a sentence", "[host]") {
  backend::check(CUBLAS_STATUS_SUCCESS, "nothing");
  backend::check(CUDNN_STATUS_SUCCESS, "nothing");

  const std::string product =
      message<ls::backend_error>([] { backend::check(CUBLAS_STATUS_INVALID_VALUE, "a product"); });
  CHECK(product.find("lockstep: cuBLASLt: expected a product, got CUBLAS_STATUS_INVALID_VALUE (7") == 0);
  const std::string convolution =
      message<ls::backend_error>([] { backend::check(CUDNN_STATUS_BAD_PARAM, "a convolution"); });
  CHECK(convolution.find("lockstep: cuDNN: expected a convolution, got CUDNN_STATUS_BAD_PARAM (2000") == 0);
}

TEST_CASE("weights of a convolution lie channels-last, each once", "[host]") {
  constexpr ls::convolution_geometry g{.in_channels = 6, .in = 9, .out_channels = 4, .kernel = {3, 2}, .groups = 2};
  using op = backend::convolution<float, g>;
  std::set<std::int64_t> places;
  for (std::int64_t o = 0; o < 4; ++o)
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::int64_t h = 0; h < 3; ++h)
        for (std::int64_t w = 0; w < 2; ++w) places.insert(op::weight_offset(o, i, h, w));
  CHECK(places.size() == static_cast<std::size_t>(g.weight_size()));
  CHECK(*places.begin() == 0);
  CHECK(*places.rbegin() == g.weight_size() - 1);
  CHECK(op::weight_offset(0, 1, 0, 0) == 1);
  CHECK(op::weight_offset(0, 0, 0, 1) == 3);
  CHECK(op::weight_offset(0, 0, 1, 0) == 6);
  CHECK(op::weight_offset(1, 0, 0, 0) == 18);
}

TEST_CASE("sums of columns ask for room for all levels of their tree", "[host]") {
  CHECK(backend::column_sums_workspace(0, 5) == 0);
  CHECK(backend::column_sums_workspace(256, 5) == 0);
  CHECK(backend::column_sums_workspace(257, 5) == (2 + 1) * 5 * 4);
  CHECK(backend::column_sums_workspace(257 * 256, 3) == (257 + 2) * 3 * 4);
}

TEST_CASE("the backend is known to the library", "[host]") {
  STATIC_REQUIRE(ls::backend<ls::cuda>);
  STATIC_REQUIRE_FALSE(ls::cuda::host_memory);
  STATIC_REQUIRE(ls::cuda::picture_order == ls::element_order::channels_last);
  STATIC_REQUIRE(ls::cuda::name == "cuda");
  // A shard is one pass, however large its activations.
  STATIC_REQUIRE(ls::micro_shard<lockstep_test::golden_cnn, ls::cuda> == ls::cuda::largest_pass);
}

TEST_CASE("the plan of a network for a device", "[host]") {
  using model = lockstep_test::golden_cnn;
  constexpr const auto& plan = model::plan<ls::cuda>;
  STATIC_REQUIRE(model::parameter_count == 657'162);
  STATIC_REQUIRE(plan.parameter_count == 657'162);
  STATIC_REQUIRE(plan.trainable_count == 657'162);
  STATIC_REQUIRE(plan.parameter_tensors == 4);
  // One behind another, none of them padded.
  std::int64_t offset = 0;
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    const auto& parameter = plan.parameters[static_cast<std::size_t>(p)];
    CHECK(parameter.offset == offset);
    offset += parameter.shape.size();
  }
  CHECK(offset == plan.parameter_count);
  CHECK(plan.parameters[0].shape == ls::dims{64, 3, 3, 3});
  CHECK(plan.parameters[2].shape == ls::dims{10, 65536});

  using frozen = lockstep_test::regression;
  STATIC_REQUIRE(frozen::parameter_count == 9 * 5 + 9 + 3 * 9 + 3);
  STATIC_REQUIRE(frozen::plan<ls::cuda>.trainable_count == 9 * 5 + 9);
}

TEST_CASE("weights behind pictures are found in PyTorch's order", "[host]") {
  using model = lockstep_test::golden_cnn;
  constexpr const auto& plan = model::plan<ls::cuda>;
  const auto offsets = [&](int tensor) {
    std::vector<std::int64_t> all(
        static_cast<std::size_t>(plan.parameters[static_cast<std::size_t>(tensor)].shape.size()));
    ls::detail::each_element<model, ls::cuda>(
        tensor, [&](std::int64_t i, std::int64_t offset) { all[static_cast<std::size_t>(i)] = offset; });
    return all;
  };
  // conv1.weight[o][i][h][w] lies as [o][h][w][i].
  const auto conv = offsets(0);
  for (std::int64_t o : {0, 5, 63})
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::int64_t h = 0; h < 3; ++h)
        for (std::int64_t w = 0; w < 3; ++w)
          CHECK(conv[static_cast<std::size_t>(((o * 3 + i) * 3 + h) * 3 + w)] == ((o * 3 + h) * 3 + w) * 3 + i);
  // fc.weight[o][c][h][w] reads pictures as they lie, channels last.
  const auto fc = offsets(2);
  const std::int64_t begin = plan.parameters[2].offset;
  for (std::int64_t o : {0, 9})
    for (std::int64_t c : {0, 1, 63})
      for (std::int64_t h : {0, 1, 31})
        for (std::int64_t w : {0, 1, 31})
          CHECK(fc[static_cast<std::size_t>(((o * 64 + c) * 32 + h) * 32 + w)] ==
                begin + ((o * 32 + h) * 32 + w) * 64 + c);
}

TEST_CASE("allocations are counted, and those of this program known", "[host]") {
  if (!lockstep_test::counts_allocations()) LOCKSTEP_SKIP("a sanitizer has replaced the functions that allocate");
  const auto count = lockstep_test::count_allocations([] {
    // Kept in a volatile pointer, or the compiler would leave the pairs out.
    void* volatile kept = std::malloc(10);
    std::free(kept);
    kept = ::operator new(10);
    ::operator delete(kept);
    kept = std::make_unique<std::string>(100, 'x').release();
    delete static_cast<std::string*>(kept);
  });
  CHECK(count.own == 4);
  CHECK(count.all == 4);
  CHECK_FALSE(count.first.empty());
  CHECK(lockstep_test::count_allocations([] {}).all == 0);
}
