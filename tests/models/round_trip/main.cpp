// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Loads the state of a network, writes its outputs for a batch of pictures, and saves the state again. check.py beside
// this file holds both against torchvision.
//
//   round_trip MODEL STATE_IN INPUTS STATE_OUT OUTPUTS
//
// MODEL is resnet18 or vgg16, the rest are safetensors files. INPUTS has one tensor `inputs` (B, 3, 224, 224), OUTPUTS
// gets one tensor `outputs` (B, 1000).

#include <cstddef>
#include <cstdio>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "models/resnet18.hpp"
#include "models/vgg16.hpp"

namespace ls = lockstep;

namespace {

struct paths {
  std::string state_in, inputs, state_out, outputs;
};

template <class Network>
void run(const paths& files) {
  using model = ls::model<Network, ls::input<3, 224, 224>>;
  using predictor = ls::predictor<model, 1>;

  const auto file = ls::safetensors_file::read(files.inputs);
  const auto& shape = file.at("inputs").shape;
  if (shape.size() != 4 || shape[0] < 1 || shape[1] != 3 || shape[2] != 224 || shape[3] != 224)
    throw std::runtime_error(files.inputs + ": expected inputs of one or more pictures of 3x224x224");
  const std::vector<float> inputs = file.values_f32("inputs");

  predictor network({.max_batch = shape[0], .warm_up = false});
  ls::load_safetensors(network, files.state_in);
  const auto outputs = network.predict(typename predictor::input_view(inputs.data(), shape[0]));
  const std::span<const float> values(outputs.data(), static_cast<std::size_t>(outputs.size()));
  const auto tensor = ls::safetensors_tensor::of("outputs", {shape[0], model::output_dims.extent[0]}, values);
  ls::write_safetensors(files.outputs, {&tensor, 1});
  ls::save_safetensors(network, files.state_out);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv, argv + argc);
  const std::string name = argc > 1 ? arguments[1] : "";
  if (argc != 6 || (name != "resnet18" && name != "vgg16")) {
    std::fputs("usage: round_trip resnet18|vgg16 STATE_IN INPUTS STATE_OUT OUTPUTS\n", stderr);
    return 2;
  }
  const paths files{arguments[2], arguments[3], arguments[4], arguments[5]};
  if (name == "resnet18")
    run<models::resnet18<1000>>(files);
  else
    run<models::vgg16<1000>>(files);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "round_trip: %s\n", error.what());
  return 1;
}
