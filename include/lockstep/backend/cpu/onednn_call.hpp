// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cpu/onednn.hpp>

/// \file
/// Primitives of oneDNN with what they are called with.

namespace lockstep::onednn {

/// A primitive and its arguments, which are set once, so that a step neither builds a map nor allocates on our side.
class call {
 public:
  /// `what` names the primitive in messages.
  [[gnu::cold]] void create(const primitive_desc& desc, const char* what) {
    what_ = what;
    check(dnnl_primitive_create(primitive_.out(), desc.get()), what);
  }

  [[gnu::cold]] void add(int argument, dnnl_memory_t memory) {
    arguments_.at(static_cast<std::size_t>(count_)) = {argument, memory};
    ++count_;
  }

  void operator()(dnnl_stream_t stream) const {
    check(dnnl_primitive_execute(primitive_.get(), stream, count_, arguments_.data()), what_);
  }
  explicit operator bool() const noexcept { return static_cast<bool>(primitive_); }

 private:
  primitive_handle primitive_;
  const char* what_ = "";
  std::array<dnnl_exec_arg_t, 6> arguments_{};
  int count_ = 0;
};

/// The memory that one pass of an operation needs beside its caller's. It lies in the workspace that all operations of
/// a context share, one after the other, and so must be taken anew before every pass.
class borrowed_memory {
 public:
  /// Lends `memory`, described by `desc`, a place.
  [[gnu::cold]] void add(dnnl_memory_t memory, desc_view desc) {
    constexpr std::int64_t alignment = 64;
    users_.at(count_) = {memory, bytes_};
    ++count_;
    bytes_ += (static_cast<std::int64_t>(dnnl_memory_desc_get_size(desc)) + alignment - 1) / alignment * alignment;
  }
  /// In floats.
  [[nodiscard]] std::int64_t size() const noexcept { return bytes_ / static_cast<std::int64_t>(sizeof(float)); }
  void take(float* workspace) const {
    for (std::size_t i = 0; i < count_; ++i)
      set_address(users_[i].memory, workspace + users_[i].offset / static_cast<std::int64_t>(sizeof(float)));
  }

 private:
  struct user {
    dnnl_memory_t memory = nullptr;
    std::int64_t offset = 0;
  };

  std::array<user, 4> users_{};
  std::size_t count_ = 0;
  std::int64_t bytes_ = 0;
};

/// The working memory of a primitive.
class scratch {
 public:
  [[gnu::cold]] void create(call& primitive, const primitive_desc& desc, dnnl_engine_t engine,
                            borrowed_memory& borrowed) {
    const desc_view needed = query(desc, dnnl_query_scratchpad_md);
    if (dnnl_memory_desc_get_size(needed) == 0) return;
    memory_ = make_memory(needed, engine);
    borrowed.add(memory_.get(), needed);
    primitive.add(DNNL_ARG_SCRATCHPAD, memory_.get());
  }

 private:
  memory_handle memory_;
};

/// An operand of a primitive: the caller's bytes where the primitive takes the caller's order, else borrowed memory
/// with a reorder before (`load`) or after (`store`) the primitive.
class operand {
 public:
  /// `memory` is the caller's, in the order `outside`; several operands may share it. `inside` is the primitive's
  /// order. The primitive reads the operand when `read`, else writes it.
  [[gnu::cold, gnu::noinline]] void create(dnnl_engine_t engine, dnnl_memory_t memory, const memory_desc& outside,
                                           desc_view inside, bool read, borrowed_memory& borrowed) {
    outside_ = memory;
    if (dnnl_memory_desc_equal(outside.view(), inside) != 0) return;
    inside_ = make_memory(inside, engine);
    borrowed.add(inside_.get(), inside);
    const desc_view from = read ? outside.view() : inside;
    const desc_view to = read ? inside : outside.view();
    primitive_desc desc;
    check(dnnl_reorder_primitive_desc_create(desc.out(), from, engine, to, engine, nullptr), "a reorder");
    reorder_.create(desc, "a reorder");
    reorder_.add(DNNL_ARG_FROM, read ? outside_ : inside_.get());
    reorder_.add(DNNL_ARG_TO, read ? inside_.get() : outside_);
  }

  /// The memory object to give to the primitive.
  [[nodiscard]] dnnl_memory_t memory() const noexcept { return inside_ ? inside_.get() : outside_; }

  void load(dnnl_stream_t stream, const void* bytes) {
    bind(bytes);
    if (reorder_) reorder_(stream);
  }
  void bind(const void* bytes) { set_address(outside_, bytes); }
  void store(dnnl_stream_t stream) {
    if (reorder_) reorder_(stream);
  }

 private:
  dnnl_memory_t outside_ = nullptr;
  memory_handle inside_;
  call reorder_;
};

}  // namespace lockstep::onednn
