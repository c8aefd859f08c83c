// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/transfer.hpp>

namespace lockstep::cuda_backend {

/// The alignment, in bytes, that the fast kernels of the libraries want for their operands.
inline constexpr std::int64_t library_alignment = 16;

/// The context's workspace while a library computes: first the library's own part, then copies of the operands that it
/// cannot take where they lie. A parameter lies anywhere in its flat range and a shard anywhere in a batch, at a
/// multiple of an element's size. Copying an operand, instead of computing by a slower algorithm, lets the algorithm
/// follow from the shape alone: the bits of a micro-shard then do not depend on where in its batch it lies.
class staging {
 public:
  static constexpr std::int64_t no_room = -1;

  /// `bytes`: the size of the library's own part.
  explicit staging(std::int64_t bytes) : bytes_(rounded(bytes)) {}

  /// Plans room for `size` elements at p if these are not aligned, or if `always`; else no_room. Before `open`.
  template <class T>
  [[nodiscard]] std::int64_t room(const T* p, std::int64_t size, bool always = false) {
    if (!always && reinterpret_cast<std::uintptr_t>(p) % library_alignment == 0) return no_room;
    const std::int64_t at = bytes_;
    bytes_ += rounded(size * std::int64_t{sizeof(T)});
    return at;
  }

  void open(context& c) { start_ = bytes_ == 0 ? nullptr : static_cast<char*>(c.workspace(bytes_)); }

  [[nodiscard]] void* library() const noexcept { return start_; }
  /// The address of the room, or p for no_room.
  template <class T>
  [[nodiscard]] T* place(std::int64_t room, T* p) const {
    return room == no_room ? p : reinterpret_cast<T*>(start_ + room);
  }
  /// Copies the elements at p to their room, if they have one; returns where the library can read them.
  template <class T>
  [[nodiscard]] const T* load(context& c, std::int64_t room, std::int64_t size, const T* p) const {
    if (room == no_room) return p;
    T* to = place<T>(room, nullptr);
    copy(c, size, p, to);
    return to;
  }
  /// Copies what the library has written in the room to p; does nothing for no_room.
  template <class T>
  void store(context& c, std::int64_t room, std::int64_t size, T* p) const {
    if (room != no_room) copy<T>(c, size, place<T>(room, nullptr), p);
  }

 private:
  static constexpr std::int64_t rounded(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

  std::int64_t bytes_;
  char* start_ = nullptr;
};

}  // namespace lockstep::cuda_backend
