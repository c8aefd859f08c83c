# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Reads lockstep.hpp once for all cases: cmake -D SETTINGS=settings.cmake -D COMPILER=... -D "FLAGS=..."
# -D HEADER=FILE -D OUTPUT=FILE -D DEPFILE=FILE -P precompile.cmake

cmake_minimum_required(VERSION 3.25)
include("${SETTINGS}")
include("${CMAKE_CURRENT_LIST_DIR}/compile.cmake")

compile("${COMPILER}" ${FLAGS} -x c++-header "${HEADER}" -o "${OUTPUT}" -MD -MT "${OUTPUT}" -MF "${DEPFILE}")
if(NOT compiles)
  message(FATAL_ERROR "lockstep.hpp does not compile:\n${output}")
endif()
