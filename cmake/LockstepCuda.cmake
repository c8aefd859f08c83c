# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The target lockstep::cuda, when it is wanted. Sets lockstep_has_cuda.

set(LOCKSTEP_ENABLE_CUDA AUTO CACHE STRING
    "Offer lockstep::cuda, and test it: ON, OFF, or AUTO (where tests are built and a CUDA compiler is found)")
set_property(CACHE LOCKSTEP_ENABLE_CUDA PROPERTY STRINGS AUTO ON OFF)

set(lockstep_has_cuda "${LOCKSTEP_ENABLE_CUDA}")
if(LOCKSTEP_ENABLE_CUDA STREQUAL "AUTO")
  set(lockstep_has_cuda OFF)
  if(LOCKSTEP_BUILD_TESTS)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(lockstep_has_cuda ON)
    endif()
  endif()
endif()
if(NOT lockstep_has_cuda)
  return()
endif()

include(LockstepCudaTarget)
if(NOT CUDAToolkit_FOUND)
  if(NOT LOCKSTEP_ENABLE_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "lockstep: LOCKSTEP_ENABLE_CUDA needs a CUDA toolkit 13.0 or later; set CUDAToolkit_ROOT")
  endif()
  set(lockstep_has_cuda OFF)
  return()
endif()
if(NOT CUDNN_FOUND)
  message(STATUS "lockstep: cuDNN 9 was not found: networks with convolutions will not compile for the CUDA backend")
endif()

if(NOT NCCL_FOUND)
  message(STATUS "lockstep: NCCL was not found: the replicas of a trainer will share one GPU")
endif()

add_library(lockstep_cuda INTERFACE)
add_library(lockstep::cuda ALIAS lockstep_cuda)
lockstep_add_cuda_requirements(lockstep_cuda)

# What of ours has CUDA sources.
if(LOCKSTEP_BUILD_TESTS
   OR LOCKSTEP_BUILD_BENCHMARKS
   OR LOCKSTEP_BUILD_EXAMPLES)
  if(PROJECT_IS_TOP_LEVEL)
    if(NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
      find_program(CCACHE_PROGRAM ccache)
      mark_as_advanced(CCACHE_PROGRAM)
      if(CCACHE_PROGRAM)
        set(CMAKE_CUDA_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
      endif()
    endif()
    # The one that lockstep::cuda links.
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  endif()
  enable_language(CUDA)

  # Link privately: the warnings of both compilers that read a .cu file of ours.
  add_library(lockstep_warnings_cuda INTERFACE)
  target_compile_options(
    lockstep_warnings_cuda
    INTERFACE "-Xcompiler=-Wall,-Wextra,-Wconversion,-Wshadow"
              # nvcc's own compiler does not know GCC's pragma that unrolls loops of the CPU backend (1675), and
              # objects to loops that a template argument makes empty (128, 186).
              -diag-suppress=128,186,1675
              "$<$<BOOL:${LOCKSTEP_WERROR}>:SHELL:-Werror all-warnings -Xcompiler=-Werror>")
endif()
