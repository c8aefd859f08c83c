// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/half.hpp>

/// \file
/// Elements of bfloat16, and vectors of floats that are read from them and rounded to them. Kernels that are templates
/// over their elements thereby run on either type: they read, compute in float, and round what they write.

namespace lockstep::cpu_backend::bf16 {

/// A number of bfloat16. It converts to float exactly, and from any number to the nearest, ties to even.
class element {
 public:
  element() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr explicit element(T value) : bits_(bfloat16::encode(static_cast<float>(value))) {}
  [[nodiscard]] static constexpr element of_bits(std::uint16_t bits) {
    element made;
    made.bits_ = bits;
    return made;
  }

  [[nodiscard]] constexpr std::uint16_t bits() const noexcept { return bits_; }
  // NOLINTNEXTLINE(google-explicit-constructor): nothing is lost.
  constexpr operator float() const noexcept { return bfloat16::decode(bits_); }

 private:
  std::uint16_t bits_ = 0;
};

using word_x8 = std::uint16_t __attribute__((vector_size(16)));
using word_x16 = std::uint16_t __attribute__((vector_size(32)));
using bits_x8 = std::uint32_t __attribute__((vector_size(32)));
using bits_x16 = std::uint32_t __attribute__((vector_size(64)));

// The same names for elements of float.
using cpu_backend::add_from;
using cpu_backend::load;
using cpu_backend::load_first;
using cpu_backend::store;
using cpu_backend::store_first;

/// v = the floats of these upper halves.
template <class Bits, class Words, class V>
LOCKSTEP_ALWAYS_INLINE void widen(V& v, const Words& words) {
  Bits bits;
#if LOCKSTEP_GCC_ON_X86_64()
  asm("vpmovzxwd %1, %0" : "=v"(bits) : "vm"(words));  // g++ would convert halves and join them
#else
  bits = __builtin_convertvector(words, Bits);
#endif
  bits <<= 16U;
  __builtin_memcpy(&v, &bits, sizeof v);
}

/// words = the nearest numbers of bfloat16. The processor's own conversion takes subnormal numbers for zero.
template <class Bits, class Words, class V>
LOCKSTEP_ALWAYS_INLINE void narrow(Words& words, const V& v) {
#if LOCKSTEP_GCC_ON_X86_64()
  asm("vcvtneps2bf16 %1, %0" : "=v"(words) : "v"(v));
#else
  // As bfloat16::encode. clang refuses the instruction in a function that is not for such a processor.
  Bits bits, is_nan;
  __builtin_memcpy(&bits, &v, sizeof v);
  const auto unlike_itself = v != v;
  __builtin_memcpy(&is_nan, &unlike_itself, sizeof v);
  const Bits rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
  const Bits nan = (bits >> 16U) | 0x40U;
  words = __builtin_convertvector((nan & is_nan) | (rounded & ~is_nan), Words);
#endif
}

LOCKSTEP_ALWAYS_INLINE void load(float_x8& v, const element* from) {
  word_x8 words;
  __builtin_memcpy(&words, from, sizeof words);
  widen<bits_x8>(v, words);
}
LOCKSTEP_ALWAYS_INLINE void load(float_x16& v, const element* from) {
  word_x16 words;
  __builtin_memcpy(&words, from, sizeof words);
  widen<bits_x16>(v, words);
}

LOCKSTEP_ALWAYS_INLINE void store(element* to, const float_x8& v) {
  word_x8 words;
  narrow<bits_x8>(words, v);
  __builtin_memcpy(static_cast<void*>(to), &words, sizeof words);
}
LOCKSTEP_ALWAYS_INLINE void store(element* to, const float_x16& v) {
  word_x16 words;
  narrow<bits_x16>(words, v);
  __builtin_memcpy(static_cast<void*>(to), &words, sizeof words);
}

/// The first `count` elements at `from`, or as many as fill v; the other lanes are zero.
template <class V>
LOCKSTEP_ALWAYS_INLINE void load_first(V& v, const element* from, std::int64_t count) {
  if (count >= lanes<V>) return load(v, from);
  element part[static_cast<std::size_t>(lanes<V>)];
  __builtin_memcpy(static_cast<void*>(part), from, static_cast<std::size_t>(count) * sizeof(element));
  load(v, part);
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void store_first(element* to, const V& v, std::int64_t count) {
  if (count >= lanes<V>) return store(to, v);
  element part[static_cast<std::size_t>(lanes<V>)];
  store(part, v);
  __builtin_memcpy(static_cast<void*>(to), part, static_cast<std::size_t>(count) * sizeof(element));
}

/// to += the vector at `from`.
template <class V>
LOCKSTEP_ALWAYS_INLINE void add_from(V& to, const element* from) {
  V v;
  load(v, from);
  to += v;
}

}  // namespace lockstep::cpu_backend::bf16
