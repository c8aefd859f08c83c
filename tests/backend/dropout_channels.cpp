// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/channel_layout.hpp>

#include "backend/support.hpp"

/// \file
/// `dropout_channels` against the draws of its key, made here again.

namespace {

using namespace lockstep_test;

template <class B>
void check_dropout(typename B::context& c, const ls::channel_layout& layout, float p) {
  using activation = typename B::activation_type;
  CAPTURE(B::name, layout.channels, layout.pixels, layout.channels_last, p);
  const std::int64_t samples = 3;
  const doubles x = held<B>(uniform(samples * layout.size(), 1, 0.5, 1));
  doubles want = x;
  for (std::int64_t s = 0; s < samples; ++s) {
    // Step 3 and layer 2; samples 30 of this rank and 10 of this shard come before.
    const ls::random_stream stream(ls::seed{11}, ls::random_purpose::dropout, 3 * 65536 + 2,
                                   static_cast<std::uint64_t>(40 + s));
    for (std::int64_t k = 0; k < layout.channels; ++k)
      for (std::int64_t pixel = 0; pixel < layout.pixels; ++pixel) {
        const std::int64_t in_sample = layout.channels_last ? pixel * layout.channels + k : k * layout.pixels + pixel;
        const bool drops = stream.uniform(static_cast<std::uint64_t>(k)) < p;
        want[static_cast<std::size_t>(s * layout.size() + in_sample)] *= drops ? 0 : 1 / (1 - double{p});
      }
  }
  stored<B, ls::step_values> now({.seed = 11, .step = 3, .first_sample = 30});
  const ls::dropout_key key{.now = now.get(), .layer = 2, .first_sample = 10};
  array<B> px(x);
  array<B> py(filled(samples * layout.size(), poison));
  B::dropout_channels(c, samples, layout, p, key, static_cast<const activation*>(px.data()), py.data());
  const doubles y = py.read();
  // Factors are floats on every backend.
  check_close(y, want, tolerance<float>(1) / (p < 1.F ? 1 - double{p} : 1), rounding<B>);
  check_close(px.read(), x, 0);
  B::dropout_channels(c, samples, layout, p, key, static_cast<const activation*>(px.data()), px.data());
  check_close(px.read(), y, 0);
}

template <class B>
void check_dropouts() {
  STATIC_REQUIRE(ls::drops_channels<B>);
  entered<B> e;
  for (const std::int64_t channels : {1, 3, 8, 65, 300, 1100})
    for (const std::int64_t pixels : {1, 6, 130})
      for (const bool channels_last : {false, true})
        for (const float p : {0.F, 0.25F, 1.F})
          check_dropout<B>(e.context, {.channels = channels, .pixels = pixels, .channels_last = channels_last}, p);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("dropout of channels multiplies by the factors of its key", "[dropout]", pass_backends) {
  check_dropouts<TestType>();
}

TEMPLATE_LIST_TEST_CASE("dropout of channels drops whole ones, and the right share", "[dropout]", pass_backends) {
  using B = TestType;
  using activation = typename B::activation_type;
  entered<B> e;
  constexpr ls::channel_layout layout{.channels = 250, .pixels = 7, .channels_last = true};
  constexpr std::int64_t samples = 40;
  for (const float p : {0.125F, 0.5F}) {
    stored<B, ls::step_values> now({.seed = 5, .step = 1});
    array<B> px(filled(samples * layout.size(), 1));
    array<B> py(filled(samples * layout.size(), poison));
    B::dropout_channels(e.context, samples, layout, p, {.now = now.get()}, static_cast<const activation*>(px.data()),
                        py.data());
    const doubles y = py.read();
    double dropped = 0;
    bool whole = true;
    for (std::int64_t s = 0; s < samples; ++s)
      for (std::int64_t k = 0; k < layout.channels; ++k) {
        const double first = y[static_cast<std::size_t>(s * layout.size() + k)];
        if (first == 0) ++dropped;
        for (std::int64_t pixel = 1; pixel < layout.pixels; ++pixel)
          whole = whole && y[static_cast<std::size_t>(s * layout.size() + pixel * layout.channels + k)] == first;
      }
    CAPTURE(B::name, p);
    CHECK(whole);
    const double count = samples * layout.channels;
    CHECK(dropped / count == Approx(double{p}).margin(4 * std::sqrt(double{p} * (1 - double{p}) / count)));
  }
}

TEST_CASE("the definition of dropout of channels", "[dropout]") { check_dropouts<oracle>(); }
