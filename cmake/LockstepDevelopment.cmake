# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What lockstep's own programs need: helper targets with private flags, and libraries that no user has to have.

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  set(CMAKE_CXX_EXTENSIONS OFF)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release)
  endif()
  find_program(CCACHE_PROGRAM ccache)
  mark_as_advanced(CCACHE_PROGRAM)
  if(CCACHE_PROGRAM AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  endif()
endif()

# Link privately: the warnings that every program of ours is built with.
add_library(lockstep_warnings INTERFACE)
target_compile_options(
  lockstep_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow $<$<BOOL:${LOCKSTEP_WERROR}>:-Werror>)

# Catch2 counts its tests by __COUNTER__.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 22)
  target_compile_options(lockstep_warnings INTERFACE -Wno-c2y-extensions)
endif()

# g++ warns of fences, which its thread sanitizer does not follow.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread")
  target_compile_options(lockstep_warnings INTERFACE -Wno-error=tsan)
endif()

# Link privately: the flags of programs whose speed is measured.
add_library(lockstep_optimized INTERFACE)
target_compile_options(lockstep_optimized INTERFACE $<$<BOOL:${LOCKSTEP_NATIVE}>:-march=native>)

if(LOCKSTEP_BUILD_TESTS)
  lockstep_find_or_fetch(Catch2 https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz
                         c991b247a1a0d7bb9c39aa35faf0fe9e19764213f28ffba3109388e62ee0269c)
  list(APPEND CMAKE_MODULE_PATH "${Catch2_DIR}" "${catch2_SOURCE_DIR}/extras") # where Catch.cmake may be
endif()

# Optional: reading packed IDX files. Tests of it are skipped without.
if(LOCKSTEP_BUILD_TESTS OR LOCKSTEP_BUILD_EXAMPLES)
  find_package(ZLIB QUIET)
endif()

if(LOCKSTEP_BUILD_BENCHMARKS)
  set(BENCHMARK_ENABLE_TESTING OFF CACHE INTERNAL "")
  set(BENCHMARK_ENABLE_INSTALL OFF CACHE INTERNAL "")
  lockstep_find_or_fetch(benchmark https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz
                         32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981)
endif()

if(LOCKSTEP_BUILD_BENCHMARKS OR LOCKSTEP_BUILD_EXAMPLES)
  lockstep_find_or_fetch(CLI11 https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz
                         f2d893a65c3b1324c50d4e682c0cdc021dd0477ae2c048544f39eed6654b699a)
endif()
if(LOCKSTEP_BUILD_EXAMPLES)
  lockstep_find_or_fetch(fmt https://github.com/fmtlib/fmt/archive/refs/tags/11.0.2.tar.gz
                         6cb1e6d37bdcb756dbbe59be438790db409cdb4868c66e888d5df9f13f7c027f)
endif()
