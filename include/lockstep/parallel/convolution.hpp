// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <type_traits>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/convolution_algorithm.hpp>

/// \file
/// How convolutions of 3 x 3 with stride 1 are computed on the CPU: policies of `data_parallel`.

namespace lockstep {

namespace convolution {

/// By the sums that define them.
struct direct {};

/// By Winograd's F(2 x 2, 3 x 3), four ninths of the multiplications, where it saves any. Rounding errors are like
/// those of direct sums.
struct f2 {};

/// By Winograd's F(4 x 4, 3 x 3), a quarter of the multiplications, where it saves any: the default. Rounding errors
/// are about twice those of direct sums. An infinity makes NaN of the whole tile of 4 x 4 outputs around it.
struct f4 {};

}  // namespace convolution

namespace detail {

template <class P>
struct is_convolution_policy
    : std::bool_constant<std::is_same_v<P, convolution::direct> || std::is_same_v<P, convolution::f2> ||
                         std::is_same_v<P, convolution::f4>> {};

template <class P>
inline constexpr convolution_algorithm algorithm_of =
    std::is_same_v<P, convolution::direct> ? convolution_algorithm::direct
    : std::is_same_v<P, convolution::f2>   ? convolution_algorithm::f2
                                           : convolution_algorithm::f4;

/// The backend that computes convolutions as P says (`type`), and whether there is one (`exists`). `void` leaves it to
/// the backend.
template <class B, class P>
struct backend_convolving {
  using type = B;
  static constexpr bool exists = std::is_void_v<P>;
};
template <class B, class P>
  requires(!std::is_void_v<P>) && requires { typename B::template convolving<algorithm_of<P>>; }
struct backend_convolving<B, P> {
  using type = typename B::template convolving<algorithm_of<P>>;
  static constexpr bool exists = true;
};

}  // namespace detail

}  // namespace lockstep
