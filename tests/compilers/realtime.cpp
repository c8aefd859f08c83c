// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Predictions in functions that promise not to block: the realtime sanitizer ends a program that allocates, locks or
// asks the system for anything in one. With an argument the program does allocate there, and must be ended.

#include <array>
#include <span>
#include <vector>

#include <lockstep/inference.hpp>

namespace ls = lockstep;

namespace {

using controller = ls::model<
    ls::sequential<ls::linear<64>, ls::tanh, ls::linear<64>, ls::gelu<>, ls::layer_norm<>, ls::linear<3>, ls::softmax>,
    ls::input<8>>;
using conv = ls::conv2d<6, 3, ls::padding<1>>;
using block = ls::sequential<ls::residual<ls::sequential<conv, ls::batch_norm2d<>, ls::relu, conv>>, ls::relu>;
using pictures =
    ls::model<ls::sequential<conv, block, ls::max_pool2d<2>, ls::group_norm<3>, ls::conv2d<16, 3>, ls::avg_pool2d<2>,
                             ls::flatten, ls::linear<120>, ls::relu, ls::linear<5>, ls::log_softmax>,
              ls::input<1, 14, 14>>;

template <class Model>
float predict(const ls::inference<Model>& model, std::span<const float> x, std::span<float> y,
              std::span<float> workspace) [[clang::nonblocking]] {
  model(x, y);
  model(x, y, workspace);
  return model(x.first(static_cast<std::size_t>(Model::input_dims.size())))[0];
}

float allocate() [[clang::nonblocking]] { return *std::vector<float>(100, 1.F).data(); }

template <class Model>
float predict_all() {
  const std::vector<float> state(static_cast<std::size_t>(ls::inference<Model>::state_size), 0.1F);
  const ls::inference<Model> model(state);
  const std::vector<float> x(static_cast<std::size_t>(7 * Model::input_dims.size()), 0.5F);
  std::vector<float> y(static_cast<std::size_t>(7 * Model::output_dims.size()));
  std::vector<float> workspace(static_cast<std::size_t>(ls::inference<Model>::workspace_size));
  return predict(model, x, y, workspace);
}

}  // namespace

int main(int count, char**) {
  if (count > 1) return allocate() > 0 ? 0 : 1;
  const float sum = predict_all<controller>() + predict_all<pictures>();
  return sum == sum ? 0 : 1;
}
