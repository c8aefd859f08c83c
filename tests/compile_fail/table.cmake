# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Prints on which line of each compiler's output the sentence about a mistake stands, of how many lines, after how long.
# Run: cmake -D FOLDER=rows -P table.cmake

cmake_minimum_required(VERSION 3.25)

file(GLOB rows "${FOLDER}/*.txt")
if(NOT rows)
  message(FATAL_ERROR "No case has passed: ${FOLDER} holds no rows")
endif()
list(SORT rows)
set(table "")
foreach(file IN LISTS rows)
  file(READ "${file}" row)
  string(APPEND table "${row}")
endforeach()
message(STATUS "mistake | compiler: line of the sentence, lines in all, seconds (lockstep.hpp precompiled)\n${table}")
