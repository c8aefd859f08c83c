// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <type_traits>

#include <lockstep/backend/backend.hpp>
#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/single.hpp>
#include <lockstep/optim/optimizer.hpp>
#include <lockstep/optim/parameter_groups.hpp>
#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/bucket_bytes.hpp>
#include <lockstep/parallel/convolution.hpp>
#include <lockstep/parallel/precision.hpp>
#include <lockstep/parallel/reduction.hpp>

/// \file
/// The types that may follow N in `data_parallel<Model, N, ...>`, in any order.

namespace lockstep::detail {

template <class P>
struct is_backend_policy : std::bool_constant<backend<P>> {};
template <class P>
struct is_optimizer_policy : std::bool_constant<optimizer<P>> {};

template <class P>
struct is_communicator_policy : std::bool_constant<communicator<P>> {};
/// A hook is recognised with single_rank as its communicator; whether it fits the actual communicator is checked where
/// it is called.
template <class P>
struct is_hook_policy : std::bool_constant<reduction_hook<P, single_rank>> {};

/// The first policy for which Is holds, or Default.
template <template <class> class Is, class Default, class... Policies>
struct pick {
  using type = Default;
};
template <template <class> class Is, class Default, class First, class... Rest>
struct pick<Is, Default, First, Rest...>
    : std::conditional_t<Is<First>::value, std::type_identity<First>, pick<Is, Default, Rest...>> {};

template <template <class> class Is, class... Policies>
inline constexpr int policies_of_kind = (0 + ... + (Is<Policies>::value ? 1 : 0));

template <class P>
inline constexpr bool is_policy =
    is_backend_policy<P>::value || is_optimizer_policy<P>::value || is_reduction_policy<P>::value ||
    is_micro_shards_policy<P>::value || is_communicator_policy<P>::value || is_hook_policy<P>::value ||
    is_bucket_policy<P>::value || is_precision_policy<P>::value || is_groups_policy<P>::value ||
    is_convolution_policy<P>::value;

template <class... Policies>
struct policies {
  using named_backend = typename pick<is_backend_policy, cpu, Policies...>::type;
  using optimizer = typename pick<is_optimizer_policy, sgd, Policies...>::type;
  using groups = typename pick<is_groups_policy, lockstep::parameter_groups<>, Policies...>::type;
  using reduction = typename pick<is_reduction_policy, reduce::automatic, Policies...>::type;
  using shards = typename pick<is_micro_shards_policy, micro_shards<8>, Policies...>::type;
  using communicator = typename pick<is_communicator_policy, single_rank, Policies...>::type;
  using hook = typename pick<is_hook_policy, all_reduce_hook, Policies...>::type;
  using arithmetic = typename pick<is_precision_policy, precision::fp32, Policies...>::type;
  using convolutions = typename pick<is_convolution_policy, void, Policies...>::type;
  using convolving_backend = typename backend_convolving<named_backend, convolutions>::type;
  using backend = typename backend_in<convolving_backend, arithmetic>::type;
  static constexpr factor_rounding rounding = rounding_of<arithmetic>;
  using bucket_sizes = typename pick<is_bucket_policy, bucket_bytes<>, Policies...>::type;

  /// Number of leaves of the sum over a batch for N replicas.
  template <int N>
  static constexpr int leaves = [] {
    if constexpr (std::is_same_v<reduction, reduce::reproducible>) {
      static_assert(shards::value % N == 0,
                    "lockstep: data_parallel: reduce::reproducible: the number of replicas does not divide the "
                    "number of micro-shards; use 1, 2, 4, ... replicas, or micro_shards<V> with a larger V");
      return shards::value;
    } else {
      return N;
    }
  }();
};

/// Checks that the policies fit. These checks are not in `policies`: compilers treat a class with a failed check as one
/// without members, and then report its members as missing.
template <class... Policies>
consteval bool check_policies() {
  using kinds = policies<Policies...>;
  static_assert(!is_missing<typename kinds::named_backend>,
                "lockstep: data_parallel: the cpu backend needs oneDNN, and this build has LOCKSTEP_WITHOUT_ONEDNN; "
                "install oneDNN and configure again, or name another backend after N");
  static_assert((is_policy<Policies> && ...),
                "lockstep: data_parallel: a policy after N is not a backend, an optimizer, a reduction, micro_shards, "
                "a communicator, a reduction hook, bucket_bytes, parameter_groups, a precision or a convolution");
  static_assert(policies_of_kind<is_backend_policy, Policies...> <= 1,
                "lockstep: data_parallel: two backends are given; keep one");
  static_assert(policies_of_kind<is_optimizer_policy, Policies...> <= 1,
                "lockstep: data_parallel: two optimizers are given; keep one");
  static_assert(policies_of_kind<is_reduction_policy, Policies...> <= 1,
                "lockstep: data_parallel: two reductions are given; keep one");
  static_assert(policies_of_kind<is_micro_shards_policy, Policies...> <= 1,
                "lockstep: data_parallel: micro_shards is given twice; keep one");
  static_assert(policies_of_kind<is_communicator_policy, Policies...> <= 1,
                "lockstep: data_parallel: two communicators are given; keep one");
  static_assert(policies_of_kind<is_hook_policy, Policies...> <= 1,
                "lockstep: data_parallel: two reduction hooks are given; keep one");
  static_assert(policies_of_kind<is_bucket_policy, Policies...> <= 1,
                "lockstep: data_parallel: bucket_bytes is given twice; keep one");
  static_assert(policies_of_kind<is_groups_policy, Policies...> <= 1,
                "lockstep: data_parallel: parameter_groups is given twice; put all groups into one");
  static_assert(policies_of_kind<is_precision_policy, Policies...> <= 1,
                "lockstep: data_parallel: two precisions are given; keep one");
  static_assert(policies_of_kind<is_convolution_policy, Policies...> <= 1,
                "lockstep: data_parallel: two convolution policies are given; keep one");
  static_assert(
      backend_convolving<typename kinds::named_backend, typename kinds::convolutions>::exists,
      "lockstep: data_parallel: convolution::direct, f2 and f4 are for the cpu backend; leave the policy out");
  constexpr bool has_precision = backend_in<typename kinds::convolving_backend, typename kinds::arithmetic>::exists;
  static_assert(has_precision || names_bf16_backend<typename kinds::convolving_backend>,
                "lockstep: data_parallel: precision::bf16 is for backends that compute in it, which this one does not; "
                "leave the policy out, or use ls::cpu or ls::cuda");
  static_assert(has_precision || !names_bf16_backend<typename kinds::convolving_backend>,
                "lockstep: data_parallel: precision::bf16 on the cpu backend has a header of its own; include "
                "<lockstep/cpu_bf16.hpp>");
  static_assert(
      !std::is_same_v<typename kinds::arithmetic, precision::bf16> || std::is_void_v<typename kinds::convolutions> ||
          std::is_same_v<typename kinds::convolutions, convolution::direct>,
      "lockstep: data_parallel: convolution::f2 and f4 are for float32, and precision::bf16 takes direct sums; "
      "leave one of the two policies out");
  static_assert(kinds::rounding == factor_rounding::none || offers_rounding<typename kinds::backend>,
                "lockstep: data_parallel: precision::tf32 is for devices that multiply such numbers faster, which this "
                "backend has not; leave the policy out, or use ls::cuda");
  static_assert(
      !std::is_same_v<typename kinds::communicator, single_rank> || policies_of_kind<is_hook_policy, Policies...> == 0,
      "lockstep: data_parallel: a reduction hook reduces over ranks; give a communicator too");
  return true;
}

}  // namespace lockstep::detail
