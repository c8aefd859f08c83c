// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/backend/element_order.hpp>
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/random.hpp>

#include "backend/backends.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

/// \file
/// The conformance suite's tools: every test case of this folder is typed over `backends` and holds one primitive
/// against the oracle, which computes in double precision with pictures in plain order. What a backend works on lies in
/// its own memory, which no test touches but through its copies, and all of a test's work goes through one context.

namespace lockstep_test {

namespace ls = lockstep;

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

/// How far an element that a pass writes may lie from its exact value for being rounded to the pass' elements, as a
/// part of it, beside what `tolerance` allows for its computation: half of the step between two numbers of 8 bits.
template <class B>
inline constexpr double rounding = sizeof(typename B::activation_type) == 2 ? 0x1p-8 : 0;

/// Any element as a double. Those of libraries convert to float alone.
template <class T>
double to_double(T value) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<double>(value);
  else
    return static_cast<double>(static_cast<float>(value));
}

/// Numbers as a pass of B has them.
template <class B>
doubles held(doubles values) {
  for (double& v : values) v = to_double(static_cast<typename B::activation_type>(static_cast<float>(v)));
  return values;
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

/// The one context of a backend that tests work with.
template <class B>
typename B::context& shared_context() {
  static typename B::context context{ls::replica_place{}};
  return context;
}

/// The shared context, entered for this object's life.
template <class B>
struct entered {
  typename B::context& context = shared_context<B>();
  decltype(std::declval<typename B::context&>().enter()) scope = context.enter();
};

/// Elements in a backend's memory between two guards, which tell of writes outside the range. `shift` elements
/// before it place the range off the buffer's alignment, as the ranges of a flat parameter buffer are.
template <class B, class T = typename B::activation_type>
class array {
 public:
  explicit array(const doubles& values, std::int64_t shift = 0)
      : size_(static_cast<std::int64_t>(values.size())),
        front_(guard + shift),
        buffer_(B::template allocate<T>(shared_context<B>(), front_ + size_ + guard)) {
    upload(0, std::vector<T>(static_cast<std::size_t>(buffer_.size()), sentinel));
    put(values);
  }

  [[nodiscard]] T* data() { return buffer_.data() + front_; }
  [[nodiscard]] std::int64_t size() const { return size_; }

  /// Other values in the same place.
  void write(const doubles& values) {
    REQUIRE(static_cast<std::int64_t>(values.size()) == size_);
    put(values);
  }

  /// The elements, behind all work so far; a test failure when a guard was overwritten.
  [[nodiscard]] doubles read() {
    auto& c = shared_context<B>();
    std::vector<T> all(static_cast<std::size_t>(buffer_.size()));
    B::copy_out(c, buffer_.size(), buffer_.data(), all.data());
    B::finish(c);
    const auto first = all.begin() + front_;
    const auto last = first + size_;
    const auto is_sentinel = [](T v) { return v == sentinel; };
    const bool intact = std::all_of(all.begin(), first, is_sentinel) && std::all_of(last, all.end(), is_sentinel);
    CHECK(intact);
    doubles values(static_cast<std::size_t>(size_));
    std::transform(first, last, values.begin(), [](T v) { return to_double(v); });
    return values;
  }

 private:
  static constexpr std::int64_t guard = 16;
  inline static const T sentinel = static_cast<T>(-12352);  // a number of 8 bits

  void put(const doubles& values) {
    std::vector<T> own(values.size());
    std::transform(values.begin(), values.end(), own.begin(), [](double v) { return static_cast<T>(v); });
    upload(front_, own);
  }

  void upload(std::int64_t at, const std::vector<T>& values) {
    auto& c = shared_context<B>();
    B::copy_in(c, static_cast<std::int64_t>(values.size()), values.data(), buffer_.data() + at);
    B::finish(c);
  }

  std::int64_t size_;
  std::int64_t front_;
  typename B::template buffer<T> buffer_;
};

/// One value in a backend's memory: a step's values, a rule, the terms of an update.
template <class B, class T>
class stored {
 public:
  explicit stored(const T& value) { write(value); }

  [[nodiscard]] T* get() { return value_.get(); }

  void write(const T& value) {
    value_.host() = value;
    value_.send(shared_context<B>());
  }

  /// The value behind all work so far.
  [[nodiscard]] T read() {
    value_.fetch(shared_context<B>());
    B::finish(shared_context<B>());
    return value_.host();
  }

 private:
  typename B::template mirrored<T> value_{shared_context<B>()};
};

/// What a loss that runs as run(double* sum) adds to *sum; a test failure when that depends on what stood there.
template <class B, class Run>
double added_loss(const Run& run) {
  const double before = -2.5;
  array<B, double> fresh(filled(1, 0));
  array<B, double> onto(filled(1, before));
  run(fresh.data());
  run(onto.data());
  const double loss = fresh.read().front();
  CHECK(onto.read().front() - before == Approx(loss).epsilon(1e-12).margin(1e-12));
  return loss;
}

/// Fails unless the two have the same size and differ nowhere by more than `allowed`, and `relative` of what is wanted.
/// A NaN equals only a NaN.
inline void check_close(const doubles& got, const doubles& want, double allowed, double relative = 0) {
  REQUIRE(got.size() == want.size());
  REQUIRE(std::isfinite(allowed));
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double excess = excess_of(got[i], want[i], relative, nan_rule::equals_nan);
    if (excess > worst) {
      worst = excess;
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

}  // namespace lockstep_test
