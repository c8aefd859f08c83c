// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>

#include "support/catch.hpp"

/// \file
/// The conformance suite's tools: every test case of this folder is typed over `backends` and holds one primitive
/// against the oracle, which computes in double precision with pictures in plain order.

namespace lockstep_test {

namespace ls = lockstep;

/// The backends under test. A new one is one more entry here (and, when the host does not read its memory, an
/// `array` of its own).
using backends = std::tuple<ls::cpu>;

using oracle = ls::reference<double>;
using doubles = std::vector<double>;

/// What outputs hold before a primitive runs, so that an element nobody wrote shows.
inline constexpr double poison = std::numeric_limits<double>::quiet_NaN();
inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// How far a sum of `terms` products of numbers in [-1, 1] may lie from the exact value when it is computed in T, in
/// any order. Rounding errors of such a sum grow with its length times the unit roundoff.
template <class T>
constexpr double tolerance(std::int64_t terms) {
  return static_cast<double>(std::numeric_limits<T>::epsilon()) * (4.0 + static_cast<double>(terms));
}

/// n draws of U(low, high), each exactly representable as float; different `key`s give different draws.
inline doubles uniform(std::int64_t n, std::uint64_t key, double low = -1, double high = 1) {
  const ls::random_stream stream(ls::seed{2024}, ls::random_purpose::synthetic_data, key);
  doubles values(static_cast<std::size_t>(n));
  std::uint64_t i = 0;
  for (double& v : values)
    v = static_cast<double>(static_cast<float>(low + (high - low) * double{stream.uniform(i++)}));
  return values;
}

/// The same with everything below zero cut off: what leaves a relu, about half of it exact zeros.
inline doubles rectified(std::int64_t n, std::uint64_t key) {
  doubles values = uniform(n, key);
  for (double& v : values) v = std::max(v, 0.0);
  return values;
}

inline doubles filled(std::int64_t n, double value) { return doubles(static_cast<std::size_t>(n), value); }

/// Elements in a backend's memory between two guards, which tell of writes outside the range. `shift` elements
/// before it place the range off the buffer's alignment, as the ranges of a flat parameter buffer are.
template <class B, class T = typename B::value_type>
class array {
 public:
  explicit array(const doubles& values, std::int64_t shift = 0)
      : size_(static_cast<std::int64_t>(values.size())), front_(guard + shift), buffer_(front_ + size_ + guard) {
    std::fill_n(buffer_.data(), buffer_.size(), sentinel);
    std::transform(values.begin(), values.end(), data(), [](double v) { return static_cast<T>(v); });
  }

  [[nodiscard]] T* data() { return buffer_.data() + front_; }

  /// The elements; a test failure when a guard was overwritten.
  [[nodiscard]] doubles read() {
    bool intact = true;
    for (std::int64_t i = 0; i < buffer_.size(); ++i)
      if (i < front_ || i >= front_ + size_) intact = intact && buffer_.data()[i] == sentinel;
    CHECK(intact);
    return doubles(data(), data() + size_);
  }

 private:
  static constexpr std::int64_t guard = 16;
  static constexpr T sentinel = T{-12345};

  std::int64_t size_;
  std::int64_t front_;
  ls::aligned_buffer<T> buffer_;
};

/// Fails unless the two have the same size and differ nowhere by more than `allowed`. A NaN equals only a NaN.
inline void check_close(const doubles& got, const doubles& want, double allowed) {
  REQUIRE(got.size() == want.size());
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    double difference = std::abs(got[i] - want[i]);
    if (std::isnan(got[i]) && std::isnan(want[i])) difference = 0;
    if (std::isnan(difference)) difference = got[i] == want[i] ? 0 : infinity;
    if (difference > worst) {
      worst = difference;
      at = i;
    }
  }
  INFO("element " << at << " of " << got.size());
  CHECK(worst <= allowed);
}

/// A permutation between plain and channels-last order of `samples` pictures, written without the library's.
inline doubles reordered(const doubles& from, std::int64_t samples, const ls::dims& picture, bool to_channels_last) {
  doubles to(from.size());
  const std::int64_t channels = picture[0];
  const std::int64_t pixels = picture[1] * picture[2];
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t p = 0; p < pixels; ++p) {
        const auto plain = static_cast<std::size_t>((s * channels + c) * pixels + p);
        const auto last = static_cast<std::size_t>((s * pixels + p) * channels + c);
        if (to_channels_last)
          to[last] = from[plain];
        else
          to[plain] = from[last];
      }
  return to;
}

/// Pictures from plain order to the backend's, and back.
template <class B>
doubles to_backend(const doubles& plain, std::int64_t samples, const ls::dims& picture) {
  return B::picture_order == ls::element_order::plain ? plain : reordered(plain, samples, picture, true);
}
template <class B>
doubles from_backend(const doubles& own, std::int64_t samples, const ls::dims& picture) {
  return B::picture_order == ls::element_order::plain ? own : reordered(own, samples, picture, false);
}

/// A context, entered for its whole life.
template <class B>
struct entered {
  typename B::context context{};
  decltype(std::declval<typename B::context&>().enter()) scope = context.enter();
};

}  // namespace lockstep_test
