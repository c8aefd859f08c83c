// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/onednn.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend::bf16 {

/// What oneDNN computes of a layer with weights: a convolution, or the product of a fully connected layer.
struct layer_shape {
  convolution_geometry g;  ///< of a product: its inputs and outputs as channels of one pixel
  bool is_product = false;

  [[nodiscard]] static constexpr layer_shape product(const linear_geometry& g) {
    return {.g = {.in_channels = g.in,
                  .out_channels = g.out,
                  .bias = g.bias,
                  .relu = g.relu,
                  .input_gradient = g.input_gradient,
                  .parameter_gradient = g.parameter_gradient},
            .is_product = true};
  }

  [[nodiscard, gnu::cold]] onednn::memory_desc input(std::int64_t samples, bool any) const {
    return activations(samples, g.in_channels, g.in, any);
  }
  [[nodiscard, gnu::cold]] onednn::memory_desc output(std::int64_t samples, bool any) const {
    return activations(samples, g.out_channels, g.out(), any);
  }
  /// Weights in PyTorch's order, or, when `any`, in the order that a primitive chooses.
  [[nodiscard, gnu::cold]] onednn::memory_desc weights(bool any, dnnl_data_type_t type) const {
    if (is_product) return {2, {g.out_channels, g.in_channels}, any ? dnnl_format_tag_any : dnnl_oi, type};
    return any ? onednn::any_convolution_weights(g, type) : onednn::convolution_weights(g, dnnl_oihw, dnnl_goihw, type);
  }
  [[nodiscard, gnu::cold]] onednn::memory_desc bias() const { return {1, {g.out_channels}, dnnl_x, dnnl_bf16}; }

  [[nodiscard]] const char* name(onednn::pass which) const {
    switch (which) {
      case onednn::pass::forward:
        return is_product ? "a product in bfloat16" : "a forward convolution in bfloat16";
      case onednn::pass::backward_data:
        return is_product ? "a product's input gradient in bfloat16" : "a convolution's input gradient in bfloat16";
      case onednn::pass::backward_weights:
        break;
    }
    return is_product ? "a product's weight gradient in bfloat16" : "a convolution's weight gradient in bfloat16";
  }

 private:
  [[nodiscard, gnu::cold]] onednn::memory_desc activations(std::int64_t samples, std::int64_t channels, extent2 size,
                                                           bool any) const {
    if (is_product) return {2, {samples, channels}, any ? dnnl_format_tag_any : dnnl_nc, dnnl_bf16};
    return onednn::pictures(samples, channels, size, any, dnnl_bf16);
  }
};

}  // namespace lockstep::cpu_backend::bf16
