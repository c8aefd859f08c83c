# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Fails when a header includes cub::DeviceTransform, which backend/cuda/transform.hpp says why not to use.
# Run: cmake -D INCLUDE_FOLDER=include -P check_cub.cmake

cmake_minimum_required(VERSION 3.25)
cmake_path(ABSOLUTE_PATH INCLUDE_FOLDER)

set(wrong "")
file(GLOB_RECURSE headers "${INCLUDE_FOLDER}/lockstep/*.hpp")
if(NOT headers)
  message(FATAL_ERROR "No headers under ${INCLUDE_FOLDER}")
endif()
foreach(header IN LISTS headers)
  file(STRINGS "${header}" lines REGEX "^#include [<\"]cub/(cub|device/device_transform)\\.cuh")
  if(lines)
    string(APPEND wrong "\n  ${header}")
  endif()
endforeach()
if(wrong)
  message(FATAL_ERROR "cub::DeviceTransform may choose its tiles for another call's size. Use transform.hpp in:${wrong}")
endif()
