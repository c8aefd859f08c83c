# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Fails unless lockstep.hpp brings in every header of the CPU library, itself or through another, and its own list is
# sorted. Run: cmake -D INCLUDE_FOLDER=include -P check_umbrella.cmake

cmake_minimum_required(VERSION 3.25)
include("${CMAKE_CURRENT_LIST_DIR}/LockstepHeaders.cmake")
cmake_path(ABSOLUTE_PATH INCLUDE_FOLDER)

function(read_includes header result)
  file(STRINGS "${INCLUDE_FOLDER}/${header}" lines REGEX "^#include <lockstep/")
  list(TRANSFORM lines REPLACE "^#include <([^>]+)>.*" "\\1")
  set(${result} "${lines}" PARENT_SCOPE)
endfunction()

lockstep_list_headers("${INCLUDE_FOLDER}" expected ${LOCKSTEP_OPTIONAL_HEADERS} ${LOCKSTEP_SEPARATE_HEADERS})
if(NOT expected)
  message(FATAL_ERROR "No headers under ${INCLUDE_FOLDER}")
endif()

set(reached "")
set(waiting lockstep/lockstep.hpp)
while(waiting)
  list(POP_FRONT waiting header)
  if(NOT header IN_LIST reached)
    list(APPEND reached "${header}")
    read_includes("${header}" included)
    list(APPEND waiting ${included})
  endif()
endwhile()

list(REMOVE_ITEM expected ${reached})
if(expected)
  list(JOIN expected "\n  " expected)
  message(FATAL_ERROR "lockstep.hpp does not bring in:\n  ${expected}")
endif()

read_includes(lockstep/lockstep.hpp listed)
list(POP_FRONT listed first)
if(NOT first STREQUAL "lockstep/core/config.hpp")
  message(FATAL_ERROR "lockstep.hpp: core/config.hpp, which refuses compilers that are too old, comes first")
endif()
set(sorted "${listed}")
list(SORT sorted)
list(REMOVE_DUPLICATES sorted)
if(NOT listed STREQUAL sorted)
  message(FATAL_ERROR "lockstep.hpp: its other includes are not sorted, or one stands twice")
endif()
