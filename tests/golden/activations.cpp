// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/nn/activation/elu.hpp>
#include <lockstep/nn/activation/gelu.hpp>
#include <lockstep/nn/activation/leaky_relu.hpp>
#include <lockstep/nn/activation/sigmoid.hpp>
#include <lockstep/nn/activation/silu.hpp>
#include <lockstep/nn/activation/softmax.hpp>
#include <lockstep/nn/activation/softplus.hpp>
#include <lockstep/nn/activation/tanh.hpp>

#include "backend/support.hpp"
#include "golden/golden.hpp"

// Activations against PyTorch's, which generate_activations.py has run.

namespace {

using namespace lockstep_test;

const ls::safetensors_file& golden() {
  static const auto file = golden_file("activations");
  return file;
}

/// A layer's own op, on samples of these extents, in the backend's order of pictures.
template <class B, class Layer, ls::dims In>
void check_on(const std::string& name, std::uint64_t stream, double tolerance) {
  using activation = typename B::activation_type;
  INFO(name << " on " << B::name);
  constexpr std::int64_t samples = 3;
  constexpr std::int64_t count = samples * In.size();
  constexpr bool is_picture = In.rank == 3;
  constexpr bool channels_last = is_picture && B::picture_order == ls::element_order::channels_last;
  constexpr ls::node_traits traits{.in = In, .out = In, .picture = channels_last ? In : ls::dims{}};
  const auto ordered = [&](const doubles& values) {
    if constexpr (is_picture) return to_backend<B>(values, samples, In);
    return values;
  };
  const auto plain = [&](const doubles& values) {
    if constexpr (is_picture) return from_backend<B>(values, samples, In);
    return values;
  };
  const auto drawn = [&](std::uint64_t from, float bound) {
    const std::vector<float> values = golden_symmetric(from, count, bound);
    return doubles(values.begin(), values.end());
  };

  entered<B> e;
  typename Layer::template op<B, traits> op(e.context, samples);
  array<B> x(ordered(drawn(stream, 6)));
  array<B> y(filled(count, poison));
  op.forward(e.context, {}, x.data(), nullptr, y.data());
  const doubles output = plain(y.read());
  CHECK(relative_difference(output, golden().values_f64(name + "/output")) <= tolerance);

  // The gradient of a mean squared error.
  doubles dy = drawn(stream + 10, 1);
  std::transform(dy.begin(), dy.end(), output.begin(), dy.begin(),
                 [](double t, double v) { return 2 * (v - t) / static_cast<double>(count); });
  array<B> gradient(ordered(dy));
  op.backward(e.context, {},
              {.x = Layer::traits.backward_reads_input ? x.data() : nullptr,
               .y = Layer::traits.backward_reads_output ? y.data() : nullptr,
               .dy = gradient.data(),
               .parameters = static_cast<const activation*>(nullptr),
               .dx = gradient.data(),
               .gradients = nullptr,
               .accumulate = false});
  CHECK(relative_difference(plain(gradient.read()), golden().values_f64(name + "/grad_x")) <= tolerance);
}

template <class Layer, ls::dims In = ls::dims{40}>
void check(const std::string& name, std::uint64_t stream) {
  check_on<ls::reference<double>, Layer, In>(name, stream, 1e-12);
  check_on<ls::cpu, Layer, In>(name, stream, 1e-6);
}

}  // namespace

TEST_CASE("activations compute what PyTorch's do", "[golden][activation]") {
  check<ls::gelu<>>("gelu", 95000);
  check<ls::gelu<ls::approximate_tanh>>("gelu_tanh", 95100);
  check<ls::silu>("silu", 95200);
  check<ls::tanh>("tanh", 95300);
  check<ls::sigmoid>("sigmoid", 95400);
  check<ls::leaky_relu<>>("leaky_relu", 95500);
  check<ls::leaky_relu<0.3>>("leaky_relu/slope", 95600);
  check<ls::leaky_relu<-0.5>>("leaky_relu/negative", 95700);
  check<ls::elu<>>("elu", 95800);
  check<ls::elu<0.25>>("elu/alpha", 95900);
  check<ls::elu<-1.5>>("elu/negative", 96000);
  check<ls::softplus<>>("softplus", 96100);
  check<ls::softplus<5, 20>>("softplus/beta", 96200);
  check<ls::softplus<0.5, 1.5>>("softplus/threshold", 96300);
  check<ls::softplus<-1, 3>>("softplus/negative", 96400);
}

TEST_CASE("softmax and its logarithm compute what PyTorch's do", "[golden][activation]") {
  check<ls::softmax>("softmax/row", 96500);
  check<ls::softmax, ls::dims{4, 10}>("softmax/rows", 96600);
  check<ls::softmax, ls::dims{5, 4, 2}>("softmax/picture", 96700);
  check<ls::log_softmax>("log_softmax/row", 96800);
  check<ls::log_softmax, ls::dims{4, 10}>("log_softmax/rows", 96900);
  check<ls::log_softmax, ls::dims{5, 4, 2}>("log_softmax/picture", 97000);
}
