// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The dlib side of compare.py, as step_time.cpp is ours: measures the training steps of one case for a given time, or
// counts its parameters, and prints one line of JSON. dlib is the other C++ library whose networks are types. A step is
// forward, loss, backward and the update by plain SGD; the batch is a tensor of dlib's already.

#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <dlib/dnn.h>
#include <dlib/revision.h>
#include <CLI/CLI.hpp>

#include "median_step.hpp"

namespace {

using namespace dlib;

using picture = matrix<float>;
using colours = std::array<matrix<float>, 3>;

template <long Filters, class Subnet>
using conv5_without_padding = add_layer<con_<Filters, 5, 5, 1, 1, 0, 0>, Subnet>;

template <long Filters, class Subnet>
using lenet_stage = max_pool<2, 2, 2, 2, relu<conv5_without_padding<Filters, Subnet>>>;

template <long Outputs, class Subnet>
using hidden = relu<fc<Outputs, Subnet>>;

using cnn = loss_multiclass_log<fc<10, relu<con<64, 3, 3, 1, 1, input<colours>>>>>;

using mlp = loss_multiclass_log<fc<10, hidden<256, hidden<512, input<picture>>>>>;

using lenet = loss_multiclass_log<fc<10, hidden<84, hidden<120, lenet_stage<16, lenet_stage<6, input<picture>>>>>>>;

struct request {
  std::string name = "cnn";
  int batch = 64;
  double seconds = 0.5;
  bool counts_parameters = false;
};

struct extents {
  long rows;
  long columns;
};

/// The file of the BLAS that is used, on which dlib's speed depends.
std::string blas() {
  Dl_info found{};
  if (dladdr(dlsym(RTLD_DEFAULT, "cblas_sgemm"), &found) == 0) return "none";
  const std::unique_ptr<char, void (*)(void*)> path(realpath(found.dli_fname, nullptr), &std::free);
  return path ? path.get() : found.dli_fname;
}

template <class F>
void measure(const request& r, const F& step) {
  const lockstep_bench::step_times times = lockstep_bench::time_steps(r.seconds, step);
  std::printf(
      "{\"case\": \"%s\", \"phase\": \"train\", \"batch\": %d, \"steps\": %zu, \"median_s\": %.9g, "
      "\"version\": \"%d.%d\", \"blas\": \"%s\"}\n",
      r.name.c_str(), r.batch, times.steps, times.median_s, DLIB_MAJOR_VERSION, DLIB_MINOR_VERSION, blas().c_str());
}

void fill(picture& p, const extents& e, dlib::rand& draws) {
  p.set_size(e.rows, e.columns);
  for (float& pixel : p) pixel = draws.get_random_float();
}

void fill(colours& c, const extents& e, dlib::rand& draws) {
  for (picture& channel : c) fill(channel, e, draws);
}

template <class Net>
void run(const request& r, const extents& e) {
  Net net;
  dlib::rand draws(1);
  std::vector<typename Net::input_type> samples(static_cast<std::size_t>(r.batch));
  std::vector<unsigned long> labels;
  for (auto& sample : samples) {
    fill(sample, e, draws);
    labels.push_back(draws.get_random_32bit_number() % 10);
  }
  resizable_tensor batch;
  net.to_tensor(samples.begin(), samples.end(), batch);
  std::vector<sgd> solvers(Net::num_computational_layers, sgd(0, 0));
  const auto step = [&] {
    net.compute_parameter_gradients(batch, labels.begin());
    net.update_parameters(solvers, 0.01);
  };
  if (!r.counts_parameters) return measure(r, step);
  step();  // which makes the parameters
  std::printf("{\"case\": \"%s\", \"parameters\": %zu}\n", r.name.c_str(), count_parameters(net));
}

struct measured_case {
  const char* name;
  void (*run)(const request&, const extents&);
  extents sample;
};

constexpr measured_case cases[] = {
    {"cnn", run<cnn>, {32, 32}}, {"mlp", run<mlp>, {784, 1}}, {"lenet", run<lenet>, {28, 28}}};

}  // namespace

int main(int argc, char** argv) {
  request r;
  CLI::App app{"Times the training steps of one case in dlib."};
  std::vector<std::string> names;
  for (const measured_case& each : cases) names.emplace_back(each.name);
  app.add_option("--case", r.name)->check(CLI::IsMember(names));
  app.add_option("--batch", r.batch)->check(CLI::PositiveNumber);
  app.add_option("--seconds", r.seconds)->check(CLI::PositiveNumber);
  app.add_flag("--parameters", r.counts_parameters, "only count the parameters");
  CLI11_PARSE(app, argc, argv);
  try {
    for (const measured_case& each : cases)
      if (r.name == each.name) each.run(r, each.sample);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
