// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/resampling.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep::detail {

/// The op of every layer that gives pictures other extents.
template <class B, node_traits T, resampling_kind Kind>
class resampling_op {
  using activation = typename B::activation_type;
  using context = typename B::context;

  static constexpr auto pick() {
    if constexpr (resamples_pictures<B>)
      return std::type_identity<typename B::template resampling<resampling_geometry{
          .kind = Kind, .channels = T.in[0], .in = {T.in[1], T.in[2]}, .out = {T.out[1], T.out[2]}}>>{};
    else
      return std::type_identity<missing_primitive>{};
  }
  using resampling = typename decltype(pick())::type;

 public:
  resampling_op(context& c, std::int64_t samples) : resampling_(c, samples) {}

  void set_samples(std::int64_t samples) noexcept
    requires takes_fewer_samples<resampling>
  {
    resampling_.set_samples(samples);
  }

  void forward(context& c, const pass&, const activation* x, const activation*, activation* y) {
    resampling_.forward(c, x, y);
  }

  void backward(context& c, const pass&, const backward_arguments<B>& a) {
    if constexpr (T.input_gradient) resampling_.backward(c, a.dy, a.dx);
  }

 private:
  resampling resampling_;
};

/// What the layers that give pictures other extents tell the planner.
inline constexpr layer_traits resampling_traits{
    .needs_picture_order = true, .backward_reads_input = false, .backward_keeps_gradient = true};

}  // namespace lockstep::detail
