# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Compiles one program that must not compile, and writes down what the compilers say, for run_case.cmake to judge: cmake
# -D SETTINGS=settings.cmake -D SOURCE=case.cpp -D OUTPUT=FILE -D DEPFILE=FILE -P compile_case.cmake
#
# Each compiler reads SOURCE with the flags in its line `// flags: `; the first one also reads it with
# -DLOCKSTEP_TEST_FIXED.

cmake_minimum_required(VERSION 3.25)
include("${SETTINGS}")
include("${CMAKE_CURRENT_LIST_DIR}/compile.cmake")

file(STRINGS "${SOURCE}" flags REGEX "^// flags: .+" LIMIT_COUNT 1)
string(REGEX REPLACE "^// flags: " "" flags "${flags}")
separate_arguments(flags UNIX_COMMAND "${flags}")

# With other flags or macros lockstep.hpp is another text.
file(STRINGS "${SOURCE}" umbrella REGEX "^#include <lockstep/lockstep.hpp>" LIMIT_COUNT 1)
file(STRINGS "${SOURCE}" macros REGEX "^#define " LIMIT_COUNT 1)
set(with_precompiled FALSE)
if(umbrella AND NOT flags AND NOT macros)
  set(with_precompiled TRUE)
endif()

set(record "")
set(number 0)
foreach(compiler IN LISTS compilers)
  set(precompiled "")
  if(with_precompiled)
    set(precompiled ${precompiled_${number}})
  endif()
  string(TIMESTAMP begin "%s%f")
  compile("${compiler}" -fsyntax-only ${precompiled} ${flags} "${SOURCE}")
  string(TIMESTAMP end "%s%f")
  math(EXPR tenths "(${end} - ${begin}) / 100000")
  string(APPEND record "set(compiles_${number} ${compiles})\nset(tenths_${number} ${tenths})\n"
         "set(output_${number} [====[\n${output}]====])\n")
  math(EXPR number "${number} + 1")
endforeach()

list(GET compilers 0 compiler)
set(precompiled "")
if(with_precompiled)
  set(precompiled ${precompiled_0})
endif()
file(REMOVE "${DEPFILE}")
compile("${compiler}" -fsyntax-only ${precompiled} -DLOCKSTEP_TEST_FIXED "${SOURCE}" -MD -MT "${OUTPUT}" -MF
        "${DEPFILE}")
string(APPEND record "set(fixed_compiles ${compiles})\nset(fixed_output [====[\n${output}]====])\n")
# A compiler that fails does not say what it has read; where not even the preprocessor does, this is done each time.
if(NOT compiles)
  compile("${compiler}" -M -DLOCKSTEP_TEST_FIXED "${SOURCE}" -MT "${OUTPUT}" -MF "${DEPFILE}")
  if(NOT compiles)
    file(WRITE "${DEPFILE}" "${OUTPUT}: ${OUTPUT}.missing\n")
  endif()
endif()
file(WRITE "${OUTPUT}" "${record}")
