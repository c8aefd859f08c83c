# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#[[
cuDNN 9 or later. Gives the target CUDNN::cudnn and the variables CUDNN_FOUND and CUDNN_VERSION.

Looks in CUDNN_ROOT (a prefix, or the folder nvidia/cudnn of a wheel), in the CUDA toolkit, and in CMake's prefixes.
]]

find_path(
  CUDNN_INCLUDE_DIR cudnn_version.h
  HINTS ${CUDAToolkit_INCLUDE_DIRS}
  PATHS /usr/local/cuda
  PATH_SUFFIXES include)
find_library(
  CUDNN_LIBRARY
  NAMES cudnn libcudnn.so.9 # a wheel has no libcudnn.so
  HINTS ${CUDAToolkit_LIBRARY_DIR}
  PATHS /usr/local/cuda
  PATH_SUFFIXES lib64 lib)
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY)

set(CUDNN_VERSION "")
if(CUDNN_INCLUDE_DIR)
  file(STRINGS "${CUDNN_INCLUDE_DIR}/cudnn_version.h" CUDNN_VERSION
       REGEX "#define +CUDNN_(MAJOR|MINOR|PATCHLEVEL) +[0-9]+")
  list(TRANSFORM CUDNN_VERSION REPLACE ".* ([0-9]+).*" "\\1")
  list(JOIN CUDNN_VERSION "." CUDNN_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  CUDNN
  REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR
  VERSION_VAR CUDNN_VERSION
  REASON_FAILURE_MESSAGE "convolutions on GPUs need cuDNN 9 or later: install it, or set CUDNN_ROOT to where it lies")

if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
  add_library(CUDNN::cudnn UNKNOWN IMPORTED)
  set_target_properties(CUDNN::cudnn PROPERTIES IMPORTED_LOCATION "${CUDNN_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                                                     "${CUDNN_INCLUDE_DIR}")
endif()
