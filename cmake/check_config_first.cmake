# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Fails unless every header reads core/config.hpp before anything that an old compiler or -ffast-math may break: before
# another library's header, and before what any header of lockstep says itself.
# Run: cmake -D INCLUDE_FOLDER=include -P check_config_first.cmake

cmake_minimum_required(VERSION 3.25)
cmake_path(ABSOLUTE_PATH INCLUDE_FOLDER)

set(config lockstep/core/config.hpp)
# Headers that compilers of any age and standard read: C++'s own, and the system's.
set(harmless "^([a-z_]+|sys/[a-z]+\\.h|(dirent|dlfcn|fcntl|immintrin|poll|pthread|sched|time|unistd)\\.h)$")

# Sets `result` to whether config.hpp comes first in a header: it is the header's first include, or comes first in that.
function(config_is_first header result)
  while(NOT header STREQUAL "${config}")
    file(STRINGS "${INCLUDE_FOLDER}/${header}" lines REGEX "^#include [<\"]")
    list(TRANSFORM lines REPLACE "^#include [<\"]([^>\"]+)[>\"].*" "\\1")
    list(FILTER lines EXCLUDE REGEX "${harmless}")
    list(APPEND lines none)
    list(GET lines 0 header)
    if(NOT header MATCHES "^lockstep/")
      set(${result} FALSE PARENT_SCOPE)
      return()
    endif()
  endwhile()
  set(${result} TRUE PARENT_SCOPE)
endfunction()

set(wrong "")
file(GLOB_RECURSE headers RELATIVE "${INCLUDE_FOLDER}" "${INCLUDE_FOLDER}/lockstep/*.hpp")
if(NOT headers)
  message(FATAL_ERROR "No headers under ${INCLUDE_FOLDER}")
endif()
foreach(header IN LISTS headers)
  config_is_first("${header}" first)
  if(NOT first)
    string(APPEND wrong "\n  ${header}")
  endif()
endforeach()
if(wrong)
  message(FATAL_ERROR "Include <${config}> first in:${wrong}")
endif()
