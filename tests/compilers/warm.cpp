// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// g++ takes a function that surely calls a cold one for cold itself, and optimises all of it for size: also the user's
// loops. Each function here calls what a program calls once, beside such a loop; check_warm.cmake looks where it lies.

#include <string>
#include <vector>

#include <lockstep/inference.hpp>
#include <lockstep/io/checkpoints.hpp>
#include <lockstep/lockstep.hpp>
#include <lockstep/parallel/predictor.hpp>

namespace ls = lockstep;

namespace {

using model = ls::model<ls::sequential<ls::linear<16>, ls::relu, ls::linear<4>>, ls::input<8>, ls::cross_entropy>;
using trainer = ls::data_parallel<model, 2>;

inline float squares(const std::vector<float>& x) {
  float sum = 0;
  for (const float value : x) sum += value * value;
  return sum;
}

}  // namespace

float warm_trainer(const std::vector<float>& x) {
  trainer t({.learning_rate = 0.1});
  t.initialize(ls::seed{1});
  return squares(x);
}

float warm_executor(const std::vector<float>& x) {
  const ls::executor<model, ls::cpu> e;
  return squares(x);
}

float warm_predictor(const trainer& t, const std::vector<float>& x) {
  const ls::predictor<model, 2> p(t);
  return squares(x);
}

float warm_inference(const trainer& t, const std::vector<float>& x) {
  const ls::inference<model> p(t);
  return p(x)[0] + squares(x);
}

float warm_files(trainer& t, const std::string& path, const std::vector<float>& x) {
  ls::load_safetensors(t, path);
  ls::save_safetensors(t, path);
  return squares(x);
}

float warm_checkpoint(trainer& t, const std::string& path, const std::vector<float>& x) {
  ls::load_checkpoint(t, path);
  ls::save_checkpoint(t, path);
  return squares(x) + static_cast<float>(ls::inspect_checkpoint(path).steps);
}

float warm_checkpoints(const std::string& folder, const std::vector<float>& x) {
  ls::checkpoints kept(folder);
  return squares(x);
}

float warm_data(const std::string& folder, const std::vector<float>& x) {
  const auto cifar = ls::data::cifar10(folder);
  const auto digits = ls::data::idx<ls::shape<1, 28, 28>>(folder);
  const auto drawn = ls::data::synthetic();
  return squares(x) + static_cast<float>(cifar.train.size() + digits.train.size() + drawn.train.size());
}
