// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/onednn.hpp>
#include <lockstep/backend/cpu/onednn_call.hpp>
#include <lockstep/backend/cpu/weights_version.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::bf16 {

/// A layer's weights in an order that primitives have chosen: they are brought into it once for each load.
class ordered_weights {
 public:
  [[gnu::cold]] ordered_weights(dnnl_engine_t engine, const onednn::memory_desc& outside, onednn::desc_view inside)
      : bytes_(onednn::make_buffer(inside)), outside_(onednn::make_memory(outside.view(), engine)) {
    inside_ = onednn::make_memory(inside, engine, bytes_.data());
    onednn::primitive_desc desc;
    onednn::check(dnnl_reorder_primitive_desc_create(desc.out(), outside.view(), engine, inside, engine, nullptr),
                  "a reorder of weights");
    reorder_.create(desc, "a reorder of weights");
    reorder_.add(DNNL_ARG_FROM, outside_.get());
    reorder_.add(DNNL_ARG_TO, inside_.get());
  }

  [[nodiscard]] dnnl_memory_t memory() const noexcept { return inside_.get(); }
  /// True when the weights come into the order `inside`.
  [[nodiscard, gnu::cold]] bool come_as(onednn::desc_view inside) const {
    return dnnl_memory_desc_equal(onednn::description_of(inside_.get()), inside) != 0;
  }

  void load(context& c, const element* w) {
    if (!version_.changed(c, w)) return;
    onednn::set_address(outside_.get(), w);
    reorder_(c.stream());
  }

 private:
  aligned_buffer<std::byte> bytes_;
  onednn::memory_handle outside_, inside_;
  onednn::call reorder_;
  weights_version version_;
};

/// A layer's weights in all orders that its primitives have chosen.
class weights_in_orders {
 public:
  [[nodiscard, gnu::cold]] ordered_weights* in(dnnl_engine_t engine, const onednn::memory_desc& outside,
                                               onednn::desc_view inside) {
    for (const auto& known : all_)
      if (known->come_as(inside)) return known.get();
    return all_.emplace_back(std::make_unique<ordered_weights>(engine, outside, inside)).get();
  }

 private:
  std::vector<std::unique_ptr<ordered_weights>> all_;
};

}  // namespace lockstep::cpu_backend::bf16
