// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>

#include "models/autoencoder.hpp"
#include "models/gpt.hpp"
#include "models/lenet.hpp"
#include "models/resnet18.hpp"
#include "models/resnet20.hpp"
#include "models/unet_small.hpp"
#include "models/vgg16.hpp"
#include "models/vgg8.hpp"
#include "models/vit.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

/// The tensors of a model, `name shape`, in the order of their names.
template <class Model>
std::vector<std::string> tensors() {
  using backend = ls::reference<double>;
  const auto& plan = Model::template plan<backend>;
  std::vector<std::string> all;
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    const ls::plan_parameter& parameter = plan.parameters[static_cast<std::size_t>(p)];
    all.push_back(Model::template parameter_name<backend>(parameter) + " " + to_string(parameter.shape));
  }
  std::sort(all.begin(), all.end());
  return all;
}

/// The state dict of PyTorch's model, as its names and shapes were written to a file.
std::vector<std::string> pytorch(const std::string& model) {
  std::ifstream file(std::string(LOCKSTEP_TEST_DATA_DIR) + "/models/" + model + ".txt");
  std::vector<std::string> all;
  for (std::string line; std::getline(file, line);) all.push_back(line);
  REQUIRE(all.size() > 10);
  return all;
}

}  // namespace

TEST_CASE("models have the tensors of torchvision's", "[models]") {
  CHECK(tensors<ls::model<models::resnet18<1000>, ls::input<3, 224, 224>>>() == pytorch("resnet18"));
  CHECK(tensors<ls::model<models::vgg16<1000>, ls::input<3, 224, 224>>>() == pytorch("vgg16"));
}

// generate_gpt.py in tests/golden writes the file; the logits have no weight of their own.
TEST_CASE("models have the tensors of transformers'", "[models]") {
  CHECK(tensors<ls::model<models::gpt2_124m, ls::tokens<1024>>>() == pytorch("gpt2_124m"));
  STATIC_REQUIRE(ls::model<models::gpt2_124m, ls::tokens<1024>>::parameter_count == 124'439'808);
}

// The module is that of tests/golden/generate_vit.py.
TEST_CASE("vit_tiny has the tensors of a module in PyTorch", "[models]") {
  CHECK(tensors<ls::model<models::vit_tiny<10>, ls::input<3, 32, 32>>>() == pytorch("vit_tiny"));
}

// The modules are those of tests/golden/generate_pictures.py.
TEST_CASE("models have the tensors of modules in PyTorch", "[models]") {
  CHECK(tensors<ls::model<models::unet_small<>, ls::input<3, 64, 64>>>() == pytorch("unet_small"));
  CHECK(tensors<ls::model<models::autoencoder<>, ls::input<1, 28, 28>>>() == pytorch("autoencoder"));
}

// `torch_reference.py --count lenet,vgg8,resnet20` in bench/ counts those of the modules in PyTorch.
TEST_CASE("models have as many parameters as modules in PyTorch", "[models]") {
  STATIC_REQUIRE(ls::model<models::lenet, ls::input<1, 28, 28>>::parameter_count == 44'426);
  STATIC_REQUIRE(ls::model<models::vgg8<10>, ls::input<3, 32, 32>>::parameter_count == 2'196'810);
  STATIC_REQUIRE(ls::model<models::resnet20<10>, ls::input<3, 32, 32>>::parameter_count == 272'474);
}

TEST_CASE("models write pictures of the extents that they read", "[models]") {
  STATIC_REQUIRE(ls::model<models::unet_small<4>, ls::input<1, 40, 56>>::output_dims == ls::dims{4, 40, 56});
  STATIC_REQUIRE(ls::model<models::autoencoder<8>, ls::input<1, 28, 28>>::output_dims == ls::dims{1, 28, 28});
}

TEST_CASE("models have as many parameters as their papers say", "[models]") {
  // 60 thousand, of which the smaller pictures save some.
  STATIC_REQUIRE(ls::model<models::lenet, ls::input<1, 28, 28>>::parameter_count == 44'426);
  // 0.27 million with the shortcuts that have no parameters; two projections and their normalisations come on top.
  STATIC_REQUIRE(ls::model<models::resnet20<10>, ls::input<3, 32, 32>>::parameter_count ==
                 269'722 + 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64);
}
