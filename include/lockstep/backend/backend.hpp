// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <string_view>

#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/element_order.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/backend/rule.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/backend/update_terms.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep {

/// The default backend. backend/cpu/cpu.hpp defines it on top of oneDNN, which a program that trains on GPUs alone does
/// not need.
struct cpu;

/// True for a backend that keeps parameters in one type and computes passes in another.
template <class B>
inline constexpr bool converts_values = !std::same_as<typename B::value_type, typename B::activation_type>;

/// A device as its callers see it: a closed set of primitives for layers, and operations on memory and order for a
/// scheduler of replicas.
///
/// A backend may work asynchronously: a primitive enqueues its work after all earlier work of its `context`. Primitives
/// read and write the backend's memory, which the host may touch only when `host_memory` is true.
///
/// `value_type` is the type of images, outputs, parameters, their gradients and the optimizer's state.
/// `activation_type` is the type in a pass: of the parameters as layers read them, of activations, and of the gradients
/// of activations. Where the two types differ, gradients of parameters are nevertheless written and added as values,
/// and the backend also has:
/// - `convert(c, n, from, to)`: converts n elements of either type, each to the nearest of the other.
///   `to_channels_last` also takes values, and writes activations.
///
/// Stateless primitives are static functions whose first argument is the replica's `context`. Primitives that a library
/// prepares for a shape (`linear`, `convolution`, `pooling`) are class templates over a geometry; an object is
/// constructed once for a number of samples and then run any number of times. A backend knows no layer; a layer knows
/// no backend.
///
/// A backward pass whose geometry says `parameter_gradient = false` touches no gradient of a parameter; dw and db may
/// be null.
///
/// A backward pass that accumulates first sums the gradient over all its samples, then adds this sum to what is there,
/// with one addition per element. Sums over several calls thus have a known order.
///
/// - `linear<G>`: y = x w^T + b (relu), and its backward, whose dx may be x; `weight_offset(o, i)` is the position of a
///   weight.
/// - `convolution<G>`, `pooling<G>`: pictures in `picture_order`; `weight_offset(o, i, h, w)` as above.
/// - `relu_forward`, `relu_backward`, `dropout`: elementwise, in place allowed.
/// - `to_channels_last`, `to_plain`: change the order of elements at the user's boundary.
/// - `softmax_cross_entropy`, `squared_error`: add the losses to *sum and write the gradient times now->scale; `now`
///   may be null when no gradient is asked for.
/// - `add`: y += x. `square_sums`: the sum of squares of each block of a range, in double; cutting the range between
///   blocks changes no bit of it.
/// - `gradient_norm`: computes from these sums the norm, and the factor by which clipping to `max_norm` multiplies
///   gradients.
/// - `reduce_and_update`: sums N gradients as `tree_sum` does and applies a rule to each element in one pass. If a rule
///   has a member `loaded()`, this member reads values in the backend's memory and returns the rule to apply.
///
/// A backend may lack primitives that only some layers need: each such group is a named capability
/// (backend/capabilities.hpp), which those layers ask for.
///
/// Operations on memory and order:
/// - `allocate<T>(c, n)`: a `buffer<T>` of n zeros. `copy_in`, `copy_out`: from and to the host; `copy`, `clear`.
/// - `mirrored<T>`: one T on both sides, T{} at first; `send` copies host() to get(), `fetch` copies get() to host().
///   Work enqueued after a `send` sees the value that was sent, even when host() changes afterwards. Unless the host
///   reads the backend's memory, `fetch_from(c, p)` copies another T in that memory to host().
/// - `packet(c, n)`, unless the host reads the backend's memory: n bytes on both sides; `send(c, k)` copies the first k
///   bytes of host() to get(); host() must not change until the work is done. `host_reads(p)`: whether the host can
///   read the memory at p.
/// - `fence`: work given to a context after `hold(c)` waits for the work given to another context before `record`, if
///   any.
/// - `finish(c)`: returns when all work is done, and throws if any of it failed.
/// - `replay(c, key, f)`: calls f, which enqueues work; the backend may record this work and, for an equal key, run it
///   again without f. `forget(c)` drops the recordings, because buffers have moved.
template <class B>
concept backend =
    requires(typename B::context& c, std::int64_t n, typename B::value_type* y, const typename B::value_type* x,
             typename B::activation_type* q, const typename B::activation_type* p, const dims& d,
             const dropout_key& key, const cross_entropy_arguments& a, const std::int64_t* targets, double* sums,
             const step_values* now, update_terms* terms, const typename B::fence& other) {
      typename B::value_type;
      typename B::activation_type;
      { B::name } -> std::convertible_to<std::string_view>;
      { B::picture_order } -> std::convertible_to<element_order>;
      { B::cache_bytes } -> std::convertible_to<std::int64_t>;
      { B::largest_pass } -> std::convertible_to<std::int64_t>;
      { B::host_memory } -> std::convertible_to<bool>;
      typename B::context;
      requires std::constructible_from<typename B::context, const replica_place&>;
      { c.enter() };
      typename B::template linear<linear_geometry{}>;
      typename B::template convolution<convolution_geometry{}>;
      typename B::template pooling<pooling_geometry{}>;
      { B::template linear<linear_geometry{}>::weight_offset(n, n) } -> std::same_as<std::int64_t>;
      { B::template convolution<convolution_geometry{}>::weight_offset(n, n, n, n) } -> std::same_as<std::int64_t>;
      { B::relu_forward(c, n, p, q) } -> std::same_as<void>;
      { B::relu_backward(c, n, p, p, q) } -> std::same_as<void>;
      { B::dropout(c, n, n, d, 0.5F, key, p, q) } -> std::same_as<void>;
      { B::to_channels_last(c, n, d, p, q) } -> std::same_as<void>;
      { B::to_plain(c, n, d, p, q) } -> std::same_as<void>;
      { B::softmax_cross_entropy(c, n, a, p, targets, q, now, sums) } -> std::same_as<void>;
      { B::squared_error(c, n, p, x, q, now, sums) } -> std::same_as<void>;
      { B::add(c, n, x, y) } -> std::same_as<void>;
      { B::square_sums(c, n, n, x, sums) } -> std::same_as<void>;
      { B::gradient_norm(c, n, sums, 1.0, terms) } -> std::same_as<void>;
      {
        B::template reduce_and_update<1, 0>(c, n, n, {x}, y, std::array<typename B::value_type*, 0>{}, assign_rule{})
      } -> std::same_as<void>;
      { B::template allocate<double>(c, n) } -> std::same_as<typename B::template buffer<double>>;
      { B::copy_in(c, n, x, y) } -> std::same_as<void>;
      { B::copy_out(c, n, x, y) } -> std::same_as<void>;
      { B::copy(c, n, x, y) } -> std::same_as<void>;
      { B::clear(c, n, y) } -> std::same_as<void>;
      typename B::template mirrored<step_values>;
      requires std::constructible_from<typename B::fence, typename B::context&>;
      { other.hold(c) } -> std::same_as<void>;
      { B::finish(c) } -> std::same_as<void>;
      { B::forget(c) } -> std::same_as<void>;
      requires !converts_values<B> || requires {
        { B::convert(c, n, x, q) } -> std::same_as<void>;
        { B::convert(c, n, p, y) } -> std::same_as<void>;
        { B::to_channels_last(c, n, d, x, q) } -> std::same_as<void>;
      };
    };

/// True for a backend whose contexts heed `replica_place::rounding`; it says so with `rounds_factors`.
template <class B>
concept offers_rounding = requires { requires B::rounds_factors; };

/// True for the stand-in of a backend that this build lacks.
template <class B>
concept is_missing = requires { requires B::missing; };

}  // namespace lockstep
