# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#[[
NCCL, NVIDIA's collectives. Gives the target NCCL::nccl and the variables NCCL_FOUND and NCCL_VERSION.

Looks in NCCL_ROOT (a prefix, or the folder nvidia/nccl of a wheel), in the CUDA toolkit, and in CMake's prefixes.
]]

find_path(
  NCCL_INCLUDE_DIR nccl.h
  HINTS ${CUDAToolkit_INCLUDE_DIRS}
  PATHS /usr/local/cuda
  PATH_SUFFIXES include)
find_library(
  NCCL_LIBRARY
  NAMES nccl libnccl.so.2 # a wheel has no libnccl.so
  HINTS ${CUDAToolkit_LIBRARY_DIR}
  PATHS /usr/local/cuda
  PATH_SUFFIXES lib64 lib)
mark_as_advanced(NCCL_INCLUDE_DIR NCCL_LIBRARY)

set(NCCL_VERSION "")
if(NCCL_INCLUDE_DIR)
  file(STRINGS "${NCCL_INCLUDE_DIR}/nccl.h" NCCL_VERSION REGEX "#define +NCCL_(MAJOR|MINOR|PATCH) +[0-9]+")
  list(TRANSFORM NCCL_VERSION REPLACE ".* ([0-9]+).*" "\\1")
  list(JOIN NCCL_VERSION "." NCCL_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  NCCL
  REQUIRED_VARS NCCL_LIBRARY NCCL_INCLUDE_DIR
  VERSION_VAR NCCL_VERSION
  REASON_FAILURE_MESSAGE "install NCCL (libnccl-dev), or set NCCL_ROOT to where it lies")

if(NCCL_FOUND AND NOT TARGET NCCL::nccl)
  add_library(NCCL::nccl UNKNOWN IMPORTED)
  set_target_properties(NCCL::nccl PROPERTIES IMPORTED_LOCATION "${NCCL_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                                                  "${NCCL_INCLUDE_DIR}")
endif()
