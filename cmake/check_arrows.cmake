# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Fails when a header includes one of a room above its own, or of another room on the same floor.
# Run: cmake -D INCLUDE_FOLDER=include -P check_arrows.cmake

cmake_minimum_required(VERSION 3.25)
cmake_path(ABSOLUTE_PATH INCLUDE_FOLDER)

# The floors of the house, from the ground up; the rooms of a floor are separated by spaces. A room is a regular
# expression of headers' paths below lockstep/. The first that fits counts.
set(policies "bucket_bytes|convolution|evaluation|parameters|policies|precision|reduction|timeline|trainer_options")
set(floors
    "core/"
    "io/(file|file_descriptor|message|output_target)\\.hpp"
    "backend/[a-z_]+\\.hpp"
    "backend/reference/"
    "backend/cpu/ backend/cuda/ nn/"
    "model/"
    "optim/ comm/ data/"
    "parallel/(${policies})\\.hpp"
    "parallel/split/ parallel/ranks/"
    "parallel/trainer/"
    "parallel/serve/"
    "parallel/[a-z_]+\\.hpp"
    "io/"
    "inference/ generate/"
    "observe/"
    "(lockstep|inference)\\.hpp|cuda\\.hpp|cpu_bf16\\.hpp|mpi\\.hpp")

function(find_room header floor_result room_result)
  set(floor 0)
  foreach(rooms IN LISTS floors)
    string(REPLACE " " ";" rooms "${rooms}")
    foreach(room IN LISTS rooms)
      if(header MATCHES "^lockstep/(${room})")
        set(${floor_result} ${floor} PARENT_SCOPE)
        set(${room_result} "${room}" PARENT_SCOPE)
        return()
      endif()
    endforeach()
    math(EXPR floor "${floor} + 1")
  endforeach()
  message(FATAL_ERROR "${header} lies in no room; see cmake/check_arrows.cmake")
endfunction()

set(wrong "")
file(GLOB_RECURSE headers RELATIVE "${INCLUDE_FOLDER}" "${INCLUDE_FOLDER}/lockstep/*.hpp")
if(NOT headers)
  message(FATAL_ERROR "No headers under ${INCLUDE_FOLDER}")
endif()
foreach(header IN LISTS headers)
  find_room("${header}" floor room)
  file(STRINGS "${INCLUDE_FOLDER}/${header}" lines REGEX "^#include <lockstep/")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^#include <([^>]+)>.*" "\\1" included "${line}")
    find_room("${included}" its_floor its_room)
    if(its_floor GREATER floor OR (its_floor EQUAL floor AND NOT its_room STREQUAL room))
      string(APPEND wrong "\n  ${header} includes ${included}")
    endif()
  endforeach()
endforeach()
if(wrong)
  message(FATAL_ERROR "An include runs up, or across, the floors of docs/architecture.md:${wrong}")
endif()
