// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it replaces the functions that allocate.
//
// A prediction allocates nothing, and neither does a small model's object.

#include "support/sanitized.hpp"

#if __has_include(<gnu/libc-version.h>)
#define LOCKSTEP_TEST_GLIBC 1
#endif

#if !LOCKSTEP_TEST_SANITIZED() && defined(LOCKSTEP_TEST_GLIBC)

#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/inference.hpp>

#include "inference/inference_support.hpp"
#include "support/catch.hpp"
#include "support/page_faults.hpp"
#include "support/replaced_allocation.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using mlp = ls::model<ls::sequential<ls::linear<64>, ls::tanh, ls::linear<64>, ls::tanh, ls::linear<1>>, ls::input<8>>;
using conv = ls::conv2d<12, 3, ls::padding<1>, ls::no_bias>;
using block = ls::sequential<ls::residual<ls::sequential<conv, ls::batch_norm2d<>, ls::relu, conv>>, ls::relu>;
using pictures = ls::model<
    ls::sequential<conv, block, ls::max_pool2d<2>, ls::group_norm<3>, ls::flatten, ls::linear<5>, ls::softmax>,
    ls::input<3, 8, 8>>;

template <class Action>
std::size_t allocations_of(const Action& action) {
  requests.store(0);
  counting.store(true);
  action();
  counting.store(false);
  return requests.load();
}

template <class Model>
void require_no_allocation() {
  const auto state = random_state<Model>();
  const auto x = random_values(16 * Model::input_dims.size());
  const std::span one = std::span(x).first(static_cast<std::size_t>(Model::input_dims.size()));
  std::vector<float> y(static_cast<std::size_t>(16 * Model::output_dims.size()));
  const ls::inference<Model> model(state);
  std::vector<float> workspace(static_cast<std::size_t>(ls::inference<Model>::workspace_size));
  float sum = 0;
  REQUIRE(allocations_of([&] { const std::vector<int> seen(3); }) == 1);
  CHECK(allocations_of([&] { sum += model(one)[0]; }) == 0);
  CHECK(allocations_of([&] { model(x, y); }) == 0);
  CHECK(allocations_of([&] { model(x, y, workspace); }) == 0);
  CHECK(steady_page_faults([&] { model(x, y, workspace); }) == 0);
  CHECK(sum == sum);
}

}  // namespace

TEST_CASE("inference: a prediction allocates nothing", "[inference][allocations]") {
  require_no_allocation<mlp>();
  require_no_allocation<pictures>();
}

TEST_CASE("inference: a small model lies in its object", "[inference][allocations]") {
  const auto state = random_state<mlp>();
  CHECK(allocations_of([&] {
          const ls::inference<mlp> model(state);
          const auto copy = model;
          static_cast<void>(copy(std::array<float, 8>{}));
        }) == 0);
}

#endif
