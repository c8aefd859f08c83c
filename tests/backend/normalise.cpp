// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/host_normalise.hpp>

#include "backend/support.hpp"
#include "support/catch.hpp"

/// \file
/// The primitives of batch normalisation against double-precision loops, for every number of channels from 1 to 33: the
/// wide vectors, the narrow ones, and the loops of machines or channels without.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using floats = std::vector<float>;

/// The elements of a channel, one after the other, by a loop of its own.
template <class T>
doubles channel_of(const std::vector<T>& x, std::int64_t samples, const ls::channel_layout& layout, std::int64_t c) {
  doubles all;
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t p = 0; p < layout.pixels; ++p) {
      const std::int64_t in_sample = layout.channels_last ? p * layout.channels + c : c * layout.pixels + p;
      all.push_back(static_cast<double>(x[static_cast<std::size_t>(s * layout.channels * layout.pixels + in_sample)]));
    }
  return all;
}

struct measured {
  doubles mean, squares;
};

/// In two passes, the second of which is exact enough for any mean.
measured measure(const floats& x, std::int64_t samples, const ls::channel_layout& layout) {
  measured m;
  for (std::int64_t c = 0; c < layout.channels; ++c) {
    const doubles values = channel_of(x, samples, layout, c);
    long double sum = 0;
    for (const double v : values) sum += v;
    const long double mean = sum / static_cast<long double>(values.size());
    long double squares = 0;
    for (const double v : values) squares += (v - mean) * (v - mean);
    m.mean.push_back(static_cast<double>(mean));
    m.squares.push_back(static_cast<double>(squares));
  }
  return m;
}

/// One way to run the primitives.
struct vectors_of_eight {
  static constexpr const char* name = "vectors of eight";
  template <class Kernel, class... Arguments>
  static bool run(std::int64_t samples, const ls::channel_layout& layout, Arguments... arguments) {
    if (!layout.is_rows() || layout.channels % 8 != 0 || !ls::cpu_backend::has_avx2()) return false;
    ls::cpu_backend::run_for<ls::cpu_backend::float_x8, Kernel>(samples * layout.pixels, layout.channels, arguments...);
    return true;
  }
};

/// Calls f(description, layout, samples) for rows, and for pictures in both orders.
template <class F>
void each_layout(const F& f) {
  for (std::int64_t channels = 1; channels <= 33; ++channels) {
    f(ls::channel_layout{.channels = channels, .pixels = 1}, 45);
    f(ls::channel_layout{.channels = channels, .pixels = 6, .channels_last = true}, 7);
    f(ls::channel_layout{.channels = channels, .pixels = 6}, 7);
  }
}

floats as_floats(const doubles& values) { return {values.begin(), values.end()}; }

struct input {
  const char* name;
  double mean, deviation;
};
constexpr input inputs[] = {
    {"around zero", 0, 1}, {"far from zero", 1e4, 1e-2}, {"small", 1e-12, 1e-13}, {"large", -1e20, 1e18}};

floats drawn(std::int64_t n, const input& of, std::uint64_t key) {
  floats x;
  for (const double v : uniform(n, key)) x.push_back(static_cast<float>(of.mean + v * of.deviation));
  return x;
}

void check_measured(const measured& given, const measured& expected, double count) {
  for (std::size_t c = 0; c < expected.mean.size(); ++c) {
    const double deviation = std::sqrt(expected.squares[c] / count);
    CHECK(is_close(given.mean[c], expected.mean[c], {.relative = 1e-12, .absolute = 1e-5 * deviation}));
    CHECK(is_close(given.squares[c], expected.squares[c], {.relative = 1e-5}));
  }
}

measured measured_by_cpu(const floats& x, std::int64_t samples, const ls::channel_layout& layout) {
  ls::cpu::context context{ls::replica_place{}};
  measured m{filled(layout.channels, poison), filled(layout.channels, poison)};
  ls::cpu::measure_channels(context, samples, layout, x.data(), m.mean.data(), m.squares.data());
  return m;
}

}  // namespace

TEST_CASE("mean and squared distances of channels", "[normalise]") {
  for (const input& of : inputs)
    each_layout([&](const ls::channel_layout& layout, std::int64_t samples) {
      INFO(of.name << ", " << layout.channels << " channels of " << layout.pixels
                   << (layout.channels_last ? " last" : ""));
      const floats x = drawn(samples * layout.size(), of, static_cast<std::uint64_t>(layout.channels));
      const measured expected = measure(x, samples, layout);
      const auto count = static_cast<double>(samples * layout.pixels);
      check_measured(measured_by_cpu(x, samples, layout), expected, count);
      measured host{filled(layout.channels, poison), filled(layout.channels, poison)};
      ls::host::measure_channels(samples, layout, x.data(), host.mean.data(), host.squares.data());
      check_measured(host, expected, count);
      measured narrow{filled(layout.channels, poison), filled(layout.channels, poison)};
      // Squares of larger numbers overflow in float: ls::cpu measures again without vectors.
      if (of.deviation < 1e15 &&
          vectors_of_eight::run<ls::cpu_backend::measure_kernel>(samples, layout, static_cast<const float*>(x.data()),
                                                                 narrow.mean.data(), narrow.squares.data()))
        check_measured(narrow, expected, count);
    });
}

TEST_CASE("channels of one value have no distance from it", "[normalise]") {
  // Some of them round so that what is taken for their mean is another number.
  doubles values = uniform(60, 20, -3, 3);
  values.insert(values.end(), {0, 0.1, -1e4, 1e30});
  each_layout([&](const ls::channel_layout& layout, std::int64_t samples) {
    INFO(layout.channels << " channels of " << layout.pixels << (layout.channels_last ? " last" : ""));
    bool right = true;
    for (const double number : values) {
      const auto value = static_cast<float>(number);
      const measured m =
          measured_by_cpu(floats(static_cast<std::size_t>(samples * layout.size()), value), samples, layout);
      for (std::size_t c = 0; c < m.mean.size(); ++c)
        right = right && is_close(m.mean[c], double{value}, {.relative = 1e-12}) && m.squares[c] >= 0 &&
                m.squares[c] <= 1e-18 * double{value} * double{value};
    }
    CHECK(right);
  });
}

TEST_CASE("an outlier in the first row", "[normalise]") {
  for (const float outlier : {1e6F, 1e12F, 1e25F, -3e38F})
    each_layout([&](const ls::channel_layout& layout, std::int64_t samples) {
      INFO(outlier << ", " << layout.channels << " channels");
      floats x = drawn(samples * layout.size(), inputs[0], 3);
      for (std::int64_t c = 0; c < layout.channels; ++c)
        x[static_cast<std::size_t>(layout.channels_last ? c : c * layout.pixels)] = outlier;
      check_measured(measured_by_cpu(x, samples, layout), measure(x, samples, layout),
                     static_cast<double>(samples * layout.pixels));
    });
}

TEST_CASE("a NaN or an infinity spoils its own channel's statistics, and no other's", "[normalise]") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), infinity, -infinity})
    for (const std::int64_t channels : {3, 8, 24, 32}) {
      const ls::channel_layout layout{.channels = channels, .pixels = 1};
      floats x = drawn(40 * channels, inputs[0], 4);
      const measured expected = measure(x, 40, layout);
      x[static_cast<std::size_t>(17 * channels + 1)] = static_cast<float>(bad);
      measured given = measured_by_cpu(x, 40, layout);
      CHECK(std::isnan(given.squares[1]));
      CHECK_FALSE(std::isfinite(given.mean[1]));
      given.mean[1] = expected.mean[1];
      given.squares[1] = expected.squares[1];
      check_measured(given, expected, 40);
    }
}

TEST_CASE("normalised values, with and without a relu", "[normalise]") {
  ls::cpu::context context{ls::replica_place{}};
  each_layout([&](const ls::channel_layout& layout, std::int64_t samples) {
    INFO(layout.channels << " channels of " << layout.pixels << (layout.channels_last ? " last" : ""));
    floats x = drawn(samples * layout.size(), inputs[0], 5);
    x[0] = std::numeric_limits<float>::quiet_NaN();
    const floats mean = as_floats(uniform(layout.channels, 6));
    const floats scale = as_floats(uniform(layout.channels, 7));
    const floats shift = as_floats(uniform(layout.channels, 8));
    for (const bool relu : {false, true}) {
      const auto check = [&](const floats& y) {
        for (std::int64_t c = 0; c < layout.channels; ++c) {
          const auto k = static_cast<std::size_t>(c);
          const doubles in = channel_of(x, samples, layout, c);
          const doubles out = channel_of(y, samples, layout, c);
          for (std::size_t i = 0; i < in.size(); ++i) {
            double want = (in[i] - double{mean[k]}) * double{scale[k]} + double{shift[k]};
            if (relu && want < 0) want = 0;
            if (std::isnan(want))
              CHECK(std::isnan(out[i]));
            else
              CHECK(is_close(out[i], want, {.absolute = 1e-6}));
          }
        }
      };
      floats y(x.size(), 77.F);
      ls::cpu::normalise(context, samples, layout, x.data(), mean.data(), scale.data(), shift.data(), relu, y.data());
      check(y);
      floats narrow(x.size(), 77.F);
      if (vectors_of_eight::run<ls::cpu_backend::normalise_kernel>(
              samples, layout, static_cast<const float*>(x.data()), mean.data(), scale.data(), shift.data(),
              static_cast<const float*>(nullptr), relu, narrow.data()))
        check(narrow);
    }
  });
}

TEST_CASE("adding to normalised values in one pass has the bits of an addition after it", "[normalise]") {
  ls::cpu::context context{ls::replica_place{}};
  each_layout([&](const ls::channel_layout& layout, std::int64_t samples) {
    INFO(layout.channels << " channels of " << layout.pixels << (layout.channels_last ? " last" : ""));
    const std::int64_t n = samples * layout.size();
    const floats x = drawn(n, inputs[0], 5);
    floats addend = drawn(n, inputs[0], 6);
    addend[0] = std::numeric_limits<float>::quiet_NaN();
    addend[1] = std::numeric_limits<float>::infinity();
    const floats mean = as_floats(uniform(layout.channels, 7));
    const floats scale = as_floats(uniform(layout.channels, 8));
    const floats shift = as_floats(uniform(layout.channels, 9));
    for (const bool relu : {false, true}) {
      const auto check = [&](const auto& normalise, const floats& y) {
        floats want(x.size(), 77.F);
        normalise(want.data());
        ls::cpu::sum(context, n, want.data(), addend.data(), relu, want.data());
        CHECK(std::isnan(y[0]));
        CHECK(std::equal(y.begin() + 1, y.end(), want.begin() + 1));
      };
      const auto by_cpu = [&](float* y) {
        ls::cpu::normalise(context, samples, layout, x.data(), mean.data(), scale.data(), shift.data(), false, y);
      };
      floats y(x.size(), 77.F);
      ls::cpu::normalise_and_add(context, samples, layout, x.data(), mean.data(), scale.data(), shift.data(),
                                 addend.data(), relu, y.data());
      check(by_cpu, y);
      floats in_place = addend;
      ls::cpu::normalise_and_add(context, samples, layout, x.data(), mean.data(), scale.data(), shift.data(),
                                 in_place.data(), relu, in_place.data());
      check(by_cpu, in_place);
      ls::host::normalise_and_add(samples, layout, x.data(), mean.data(), scale.data(), shift.data(), addend.data(),
                                  relu, y.data());
      check(
          [&](float* to) {
            ls::host::normalise(samples, layout, x.data(), mean.data(), scale.data(), shift.data(), false, to);
          },
          y);
    }
  });
}

TEST_CASE("sums of gradients, and gradients of what was normalised", "[normalise]") {
  ls::cpu::context context{ls::replica_place{}};
  each_layout([&](const ls::channel_layout& layout, std::int64_t samples) {
    INFO(layout.channels << " channels of " << layout.pixels << (layout.channels_last ? " last" : ""));
    const std::int64_t n = samples * layout.size();
    const floats x = drawn(n, inputs[0], 9);
    const floats y = drawn(n, inputs[0], 10);
    const floats dy = drawn(n, inputs[0], 11);
    const floats mean = as_floats(uniform(layout.channels, 12));
    const floats inverse = as_floats(uniform(layout.channels, 13, 0.5, 2));
    const floats b = as_floats(uniform(layout.channels, 14));
    const floats d = as_floats(uniform(layout.channels, 15));
    for (const bool masks : {false, true}) {
      const auto check = [&](const floats& left, const doubles& sums, const doubles& products, const floats& dx) {
        for (std::int64_t c = 0; c < layout.channels; ++c) {
          const auto k = static_cast<std::size_t>(c);
          const doubles in = channel_of(x, samples, layout, c);
          const doubles out = channel_of(y, samples, layout, c);
          doubles g = channel_of(dy, samples, layout, c);
          const doubles gradient = channel_of(dx, samples, layout, c);
          double sum = 0;
          double product = 0;
          for (std::size_t i = 0; i < in.size(); ++i) {
            if (masks && out[i] <= 0) g[i] = 0;
            sum += g[i];
            product += g[i] * (in[i] - double{mean[k]}) * double{inverse[k]};
            const double want = double{inverse[k]} * g[i] + double{b[k]} * (in[i] - double{mean[k]}) + double{d[k]};
            CHECK(is_close(gradient[i], want, {.absolute = 1e-6}));
          }
          CHECK(channel_of(left, samples, layout, c) == g);
          CHECK(is_close(sums[k], sum, {.absolute = 1e-5}));
          CHECK(is_close(products[k], product, {.absolute = 1e-5}));
        }
      };
      const float* const mask = masks ? y.data() : nullptr;
      floats left = dy;
      doubles sums = filled(layout.channels, poison);
      doubles products = filled(layout.channels, poison);
      ls::cpu::normalise_gradients(context, samples, layout, x.data(), mask, left.data(), mean.data(), inverse.data(),
                                   sums.data(), products.data());
      // In place of the gradient that arrives.
      floats dx = left;
      ls::cpu::normalise_backward(context, samples, layout, x.data(), dx.data(), mean.data(), inverse.data(), b.data(),
                                  d.data(), dx.data());
      check(left, sums, products, dx);

      left = dy;
      if (!vectors_of_eight::run<ls::cpu_backend::normalise_gradients_kernel>(
              samples, layout, static_cast<const float*>(x.data()), mask, left.data(), mean.data(), inverse.data(),
              sums.data(), products.data()))
        continue;
      dx = left;
      vectors_of_eight::run<ls::cpu_backend::normalise_backward_kernel>(
          samples, layout, static_cast<const float*>(x.data()), static_cast<const float*>(dx.data()), mean.data(),
          inverse.data(), b.data(), d.data(), dx.data());
      check(left, sums, products, dx);
    }
  });
}
