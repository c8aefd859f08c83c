// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <utility>

namespace lockstep::cuda_backend {

/// Sole owner of one of a vendor library's objects, or of none.
template <class T, auto Destroy>
class handle {
 public:
  handle() = default;
  handle(handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  handle& operator=(handle&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~handle() {
    if (object_ != nullptr) static_cast<void>(Destroy(object_));  // it cannot fail for a valid object
  }

  [[nodiscard]] T get() const noexcept { return object_; }
  /// Where the library stores a new object; call it only while there is none.
  [[nodiscard]] T* out() noexcept { return &object_; }

 private:
  T object_ = nullptr;
};

}  // namespace lockstep::cuda_backend
