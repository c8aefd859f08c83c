// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>

namespace lockstep::cpu_backend {

/// T[N] for a signed N: g++ -Wsign-conversion objects to signed extents in a template.
template <class T, std::int64_t N>
using array_of = T[static_cast<std::size_t>(N)];

/// T[Rows][Columns].
template <class T, std::int64_t Rows, std::int64_t Columns>
using matrix_of = array_of<array_of<T, Columns>, Rows>;

}  // namespace lockstep::cpu_backend
