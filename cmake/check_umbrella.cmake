# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Fails unless lockstep.hpp includes every header of the CPU library, and its list is sorted.
# Run: cmake -D INCLUDE_FOLDER=include -P check_umbrella.cmake

cmake_minimum_required(VERSION 3.25)
include("${CMAKE_CURRENT_LIST_DIR}/LockstepHeaders.cmake")

lockstep_list_headers("${INCLUDE_FOLDER}" expected ${LOCKSTEP_OPTIONAL_HEADERS} ${LOCKSTEP_SEPARATE_HEADERS})
file(STRINGS "${INCLUDE_FOLDER}/lockstep/lockstep.hpp" included REGEX "^#include <lockstep/")
list(TRANSFORM included REPLACE "^#include <([^>]+)>.*" "\\1")

set(missing "${expected}")
list(REMOVE_ITEM missing ${included})
if(missing)
  list(JOIN missing "\n  " missing)
  message(FATAL_ERROR "lockstep.hpp does not include:\n  ${missing}")
endif()

set(sorted "${included}")
list(SORT sorted)
list(REMOVE_DUPLICATES sorted)
if(NOT included STREQUAL sorted)
  message(FATAL_ERROR "lockstep.hpp: its includes are not sorted, or one stands twice")
endif()
