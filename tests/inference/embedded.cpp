// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The state of a model from a header as lockstep-embed writes it; tests/train/embedding.cpp runs the program.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <lockstep/inference.hpp>
#include <lockstep/io/safetensors.hpp>

#include "docs/headers/controller.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using controller = ls::model<ls::sequential<ls::linear<2, 3>, ls::tanh, ls::linear<3, 1>>, ls::input<2>>;

/// Writes the file that a header is made from.
template <class Weights>
void write_file_of(const std::string& path) {
  std::vector<ls::safetensors_tensor> tensors;
  for (const auto& t : Weights::tensors) {
    const std::vector<std::int64_t> shape(t.extents, t.extents + t.rank);
    std::int64_t size = 1;
    for (const std::int64_t extent : shape) size *= extent;
    const std::span<const float> values(Weights::values);
    tensors.push_back(ls::safetensors_tensor::of(
        t.name, shape, values.subspan(static_cast<std::size_t>(t.begin), static_cast<std::size_t>(size))));
  }
  ls::write_safetensors(path, tensors);
}

struct tensor {
  std::string_view name;
  int rank;
  std::int64_t extents[4];
  std::int64_t begin;
  bool whole;
};

/// A convolution without bias and its norm, as DistributedDataParallel and torch.compile name them.
struct wrapped {
  static constexpr tensor tensors[] = {{"module._orig_mod.conv.weight", 4, {1, 1, 1, 2}, 0, false},
                                       {"module._orig_mod.norm.bias", 1, {1}, 2, false},
                                       {"module._orig_mod.norm.num_batches_tracked", 0, {}, 3, true},
                                       {"module._orig_mod.norm.running_mean", 1, {1}, 4, false},
                                       {"module._orig_mod.norm.running_var", 1, {1}, 5, false},
                                       {"module._orig_mod.norm.weight", 1, {1}, 6, false}};
  static constexpr std::array<float, 7> values = {2, 3, 5, 7, 11, 13, 17};
};
using conv = ls::named<"conv", ls::conv2d<1, ls::extent2{1, 2}, ls::no_bias>>;
using normed = ls::model<ls::sequential<conv, ls::named<"norm", ls::batch_norm2d<>>>, ls::input<1, 1, 2>>;

/// More floats than lie in the object.
struct wide {
  static constexpr tensor tensors[] = {{"0.weight", 2, {100, 100}, 0, false}, {"0.bias", 1, {100}, 10'000, false}};
  static constexpr std::array<float, 10'100> values = [] {
    std::array<float, 10'100> all{};
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i);
    return all;
  }();
};

}  // namespace

TEST_CASE("embedded_state: predicts what the file does", "[inference]") {
  const temporary_folder folder;
  write_file_of<weights::controller>(folder / "controller.safetensors");
  const auto loaded = ls::inference<controller>::load(folder / "controller.safetensors");
  const ls::inference<controller> model(ls::embedded_state<controller>(weights::controller{}));
  for (const std::array<float, 2> x : {std::array{0.F, 0.F}, std::array{1.F, -2.F}, std::array{0.3F, 0.7F}})
    CHECK(model(x) == loaded(x));
}

TEST_CASE("embedded_state: a small one is a constant, in the order of torch's state_dict", "[inference]") {
  constexpr auto embedded = ls::embedded_state<controller>(weights::controller{});
  STATIC_REQUIRE(embedded.size() == ls::inference<controller>::state_size);
  STATIC_REQUIRE(std::is_same_v<decltype(embedded), const std::array<float, 13>>);
  CHECK(embedded == std::array<float, 13>{0.75F, -1.5F, 0.1F, 0.3F, -0.7F, 2.F, 0.125F, -0.25F,
                                          0.5F,  // the first layer
                                          1.25F, -0.9F, 0.6F, 0.0625F});
}

TEST_CASE("embedded_state: removes the prefixes of wrappers, and takes counts", "[inference]") {
  constexpr auto embedded = ls::embedded_state<normed, wrapped>();
  CHECK(embedded == std::array<float, 7>{2, 3, 17, 5, 11, 13, 7});
}

TEST_CASE("embedded_state: a large one is a vector, in any order of the tensors", "[inference]") {
  using model = ls::model<ls::sequential<ls::linear<100, 100>>, ls::input<100>>;
  const std::vector<float> embedded = ls::embedded_state<model>(wide{});
  CHECK(std::equal(embedded.begin(), embedded.end(), wide::values.begin(), wide::values.end()));
}
