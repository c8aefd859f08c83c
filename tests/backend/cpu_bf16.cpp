// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/cpu_bf16.hpp>
#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/core/error.hpp>

#include "backend/support.hpp"

/// \file
/// Of the CPU backend of bfloat16: the primitives that not every backend has, against those of float32 on the same
/// numbers, and what a processor without such numbers is told.

namespace {

using namespace lockstep_test;
using bf16 = ls::cpu_bf16;
using fp32 = ls::cpu;
using geometry = ls::sample_norm_geometry;

constexpr double unit = rounding<bf16>;

/// The same numbers in the memory of both backends.
struct both {
  explicit both(const doubles& values) : wide(held<bf16>(values)), narrow(held<bf16>(values)) {}
  /// Fails unless the narrow numbers are the wide ones, rounded.
  void check(double allowed = 1e-5) { check_close(narrow.read(), wide.read(), allowed, unit); }

  array<fp32> wide;
  array<bf16> narrow;
};

void check_batch_norm(const ls::channel_layout& layout, std::int64_t samples) {
  CAPTURE(layout.channels, layout.pixels, layout.channels_last);
  entered<fp32> w;
  entered<bf16> n;
  const std::int64_t size = samples * layout.size();
  both x(uniform(size, 1, -1, 3));
  both addend(uniform(size, 2));
  both dy(uniform(size, 3));
  both y(filled(size, poison));
  array<fp32> mean(uniform(layout.channels, 4));
  array<fp32> scale(uniform(layout.channels, 5));
  array<fp32> shift(uniform(layout.channels, 6));
  array<fp32> d(uniform(layout.channels, 7));

  array<fp32, double> sums(filled(layout.channels, poison)), products(filled(layout.channels, poison));
  array<bf16, double> other_sums(filled(layout.channels, poison)), other_products(filled(layout.channels, poison));
  // Nothing is rounded between the elements and these.
  const auto check_sums = [&] {
    check_close(other_sums.read(), sums.read(), 1e-5, 1e-5);
    check_close(other_products.read(), products.read(), 1e-5, 1e-5);
  };
  fp32::measure_channels(w.context, samples, layout, x.wide.data(), sums.data(), products.data());
  bf16::measure_channels(n.context, samples, layout, x.narrow.data(), other_sums.data(), other_products.data());
  check_sums();

  for (const bool relu : {false, true}) {
    fp32::normalise(w.context, samples, layout, x.wide.data(), mean.data(), scale.data(), shift.data(), relu,
                    y.wide.data());
    bf16::normalise(n.context, samples, layout, x.narrow.data(), mean.data(), scale.data(), shift.data(), relu,
                    y.narrow.data());
    y.check();
    fp32::normalise_and_add(w.context, samples, layout, x.wide.data(), mean.data(), scale.data(), shift.data(),
                            addend.wide.data(), relu, y.wide.data());
    bf16::normalise_and_add(n.context, samples, layout, x.narrow.data(), mean.data(), scale.data(), shift.data(),
                            addend.narrow.data(), relu, y.narrow.data());
    y.check();
  }

  // The mask by an output that has numbers of all signs.
  for (const bool masked : {false, true}) {
    fp32::normalise_gradients(w.context, samples, layout, x.wide.data(), masked ? addend.wide.data() : nullptr,
                              dy.wide.data(), mean.data(), scale.data(), sums.data(), products.data());
    bf16::normalise_gradients(n.context, samples, layout, x.narrow.data(), masked ? addend.narrow.data() : nullptr,
                              dy.narrow.data(), mean.data(), scale.data(), other_sums.data(), other_products.data());
    check_sums();
    check_close(dy.narrow.read(), dy.wide.read(), 0);
  }
  fp32::normalise_backward(w.context, samples, layout, x.wide.data(), dy.wide.data(), mean.data(), scale.data(),
                           shift.data(), d.data(), dy.wide.data());
  bf16::normalise_backward(n.context, samples, layout, x.narrow.data(), dy.narrow.data(), mean.data(), scale.data(),
                           shift.data(), d.data(), dy.narrow.data());
  dy.check();
}

template <geometry G>
void check_sample_norm(std::int64_t samples) {
  CAPTURE(G.layout.channels, G.layout.pixels, G.layout.channels_last, G.groups, G.centred, G.relu, samples);
  entered<fp32> w;
  entered<bf16> n;
  both x(uniform(samples * G.layout.size(), 1, -1, 3));
  both dy(uniform(samples * G.layout.size(), 2));
  both weight(uniform(G.layout.channels, 3));
  both bias(uniform(G.layout.channels, 4));
  both y(filled(samples * G.layout.size(), poison));
  array<fp32> dw(uniform(G.layout.channels, 5)), db(uniform(G.layout.channels, 6));
  array<bf16, float> other_dw(uniform(G.layout.channels, 5)), other_db(uniform(G.layout.channels, 6));
  typename fp32::template sample_norm<G> wide(w.context, samples, 1e-5);
  typename bf16::template sample_norm<G> narrow(n.context, samples, 1e-5);
  wide.forward(w.context, x.wide.data(), G.weight ? weight.wide.data() : nullptr, G.bias ? bias.wide.data() : nullptr,
               y.wide.data());
  narrow.forward(n.context, x.narrow.data(), G.weight ? weight.narrow.data() : nullptr,
                 G.bias ? bias.narrow.data() : nullptr, y.narrow.data());
  y.check();
  wide.backward(w.context, x.wide.data(), dy.wide.data(), G.weight ? weight.wide.data() : nullptr, dy.wide.data(),
                dw.data(), db.data(), true);
  narrow.backward(n.context, x.narrow.data(), dy.narrow.data(), G.weight ? weight.narrow.data() : nullptr,
                  dy.narrow.data(), other_dw.data(), other_db.data(), true);
  dy.check();
  check_close(other_dw.read(), dw.read(), 1e-5, 1e-5);
  check_close(other_db.read(), db.read(), 1e-5, 1e-5);
}

}  // namespace

TEST_CASE("in bfloat16, batch normalisation is that of float32, rounded", "[normalise]") {
  if (!runs_here<bf16>()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  for (const std::int64_t channels : {1, 5, 8, 16, 24, 160}) {
    check_batch_norm({.channels = channels, .pixels = 1}, 45);
    check_batch_norm({.channels = channels, .pixels = 6, .channels_last = true}, 7);
    check_batch_norm({.channels = channels, .pixels = 6}, 7);
  }
}

TEST_CASE("in bfloat16, normalisation of samples is that of float32, rounded", "[sample_norm]") {
  if (!runs_here<bf16>()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  check_sample_norm<geometry{.layout = {.channels = 37}}>(9);
  check_sample_norm<geometry{.layout = {.channels = 64}, .centred = false, .bias = false}>(70);
  check_sample_norm<geometry{
      .layout = {.channels = 16, .pixels = 12, .channels_last = true}, .groups = 2, .relu = true}>(3);
  check_sample_norm<geometry{
      .layout = {.channels = 6, .pixels = 12, .channels_last = true}, .groups = 3, .weight = false, .bias = false}>(3);
}

TEST_CASE("a processor without bfloat16 is told what to do", "[context]") {
  CHECK_THROWS_WITH(ls::cpu_backend::bf16::require_support(false),
                    "lockstep: cpu bf16: expected a processor with AVX512_BF16 for precision::bf16, got one without "
                    "it; use precision::fp32");
  CHECK_NOTHROW(ls::cpu_backend::bf16::require_support(true));
}
