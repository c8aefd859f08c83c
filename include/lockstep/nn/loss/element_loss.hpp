// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/elementwise.hpp>

namespace lockstep {

/// A function of an output and its target, both of type T, with its derivative: what `element_loss` takes.
template <class F, class T>
concept measures_element = requires(const F& f, const T& y, const T& t) {
  { f.value(y, t) } -> std::convertible_to<T>;
  { f.gradient(y, t) } -> std::convertible_to<T>;
};

namespace detail {

/// A user's function as a rule of `element_loss`. Of a function that does not fit, the model has told.
template <class F>
struct function_rule {
  F function;

  template <class T>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const T& y, const T& t, T& value, T& gradient) const {
    if constexpr (measures_element<F, T>) {
      value = static_cast<T>(function.value(y, t));
      gradient = static_cast<T>(function.gradient(y, t));
    }
  }
};

}  // namespace detail

/// Mean over all elements of a user's f.value(y, t), whose derivative by y is f.gradient(y, t). Targets have the
/// output's extents.
///
/// F is a struct with these two functions, static or constant members, of two numbers: templates, or of float where the
/// backend computes in float. For the CUDA backend they are constexpr or LOCKSTEP_HOST_DEVICE, and F is trivially
/// copyable. On the CPU the compiler makes vectors of arithmetic, and of choices between numbers that are there
/// already.
template <class F>
struct element_loss {
  static constexpr std::string_view kind = "element_loss";

  /// The function, with its options, if it has any.
  [[no_unique_address]] F function{};

  template <class T>
  using target_type = T;
  template <class B>
  using op = detail::elementwise_op<B, element_loss>;
  template <class B>
  static constexpr bool runs_on = measures_elements<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(measures_element<F, float>,
                  "lockstep: element_loss: takes a struct (F) with value(y, t), what an element adds to the loss, and "
                  "gradient(y, t), its derivative by y: constant or static functions of two numbers that return one");
  }

  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return output.size(); }

  /// The number of elements.
  template <class T>
  [[nodiscard]] static double denominator(const T*, std::int64_t count, const dims&) {
    return static_cast<double>(count);
  }

  template <class T>
  [[nodiscard]] constexpr detail::function_rule<F> rule() const {
    return {function};
  }
};

}  // namespace lockstep
