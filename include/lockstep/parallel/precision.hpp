// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <optional>
#include <string>
#include <type_traits>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>

/// \file
/// How exactly a step computes its products: policies of `data_parallel`. A precision that is known only at run time is
/// given as trainer_options::rounding instead.

namespace lockstep {

namespace precision {

/// Computes everything in the backend's own element type: float32, except on backends of other types.
struct fp32 {};

/// Matrix products and convolutions may round their factors to TF32 (10 bits of mantissa instead of the 23 of float32)
/// on devices that multiply TF32 faster. Sums, parameters, gradients and updates keep the backend's own type. As in
/// PyTorch with torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32.
struct tf32 {};

/// Passes compute in bfloat16 (7 bits of mantissa): layers read parameters, activations and the gradients of
/// activations in it. The parameters themselves (the master weights), their gradients, the reduction and updates keep
/// the backend's own type. Sums inside a layer are taken in float32; a convolution's weight gradient may be rounded on
/// its way. As in PyTorch under torch.autocast with torch.bfloat16, but for every layer, not only for products. Needs a
/// backend with a member `in_bf16`, which names the backend that the trainer then runs on: ls::cuda_bf16, or, in
/// lockstep/cpu_bf16.hpp, ls::cpu_bf16.
struct bf16 {};

}  // namespace precision

namespace detail {

template <class P>
inline constexpr factor_rounding rounding_of =
    std::is_same_v<P, precision::tf32> ? factor_rounding::tf32 : factor_rounding::none;

template <class P>
struct is_precision_policy
    : std::bool_constant<std::is_same_v<P, precision::fp32> || std::is_same_v<P, precision::tf32> ||
                         std::is_same_v<P, precision::bf16>> {};

template <class B>
concept names_bf16_backend = requires { typename B::in_bf16; };

/// The backend that computes with a precision (`type`), and whether there is one (`exists`) whose header has been read.
template <class B, class P>
struct backend_in {
  using type = B;
  static constexpr bool exists = !std::is_same_v<P, precision::bf16>;
};
template <names_bf16_backend B>
  requires requires { sizeof(typename B::in_bf16); }
struct backend_in<B, precision::bf16> {
  using type = typename B::in_bf16;
  static constexpr bool exists = true;
};

/// What a backend may round factors to: `chosen` when given, else the policy's rounding. Throws value_error for a
/// rounding on a backend that offers none.
template <class B>
[[nodiscard]] factor_rounding rounding_on(const char* who, std::optional<factor_rounding> chosen,
                                          factor_rounding of_policy = factor_rounding::none) {
  const factor_rounding rounding = chosen.value_or(of_policy);
  if (rounding != factor_rounding::none && !offers_rounding<B>)
    throw value_error(who, "no rounding of factors on the " + std::string(B::name) + " backend, which has none",
                      to_string(rounding), "leave options.rounding out, or use ls::cuda");
  return rounding;
}

}  // namespace detail

}  // namespace lockstep
