# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Compiles programs that must not compile, and writes down what the compilers say, for run_case.cmake to judge: cmake
# -D SETTINGS=settings.cmake -D "SOURCES=case.cpp,..." -D "OUTPUTS=FILE,..." -D DEPFILE=FILE -P compile_cases.cmake
#
# Each compiler reads each source with the flags in its line `// flags: `. The first one also reads it with
# -DLOCKSTEP_TEST_FIXED: all that do with the precompiled lockstep.hpp as one, and by itself only what is wrong with them.

cmake_minimum_required(VERSION 3.25)
include("${SETTINGS}")
include("${CMAKE_CURRENT_LIST_DIR}/compile.cmake")

string(REPLACE "," ";" all_sources "${SOURCES}")
string(REPLACE "," ";" outputs "${OUTPUTS}")
list(GET compilers 0 first_compiler)
list(GET outputs 0 target)

# What the source at hand is compiled with: sets `flags`, and `with_precompiled`.
macro(read_flags source)
  file(STRINGS "${source}" flags REGEX "^// flags: .+" LIMIT_COUNT 1)
  string(REGEX REPLACE "^// flags: " "" flags "${flags}")
  separate_arguments(flags UNIX_COMMAND "${flags}")
  # With other flags or macros lockstep.hpp is another text.
  file(STRINGS "${source}" umbrella REGEX "^#include <lockstep/lockstep.hpp>" LIMIT_COUNT 1)
  file(STRINGS "${source}" macros REGEX "^#define " LIMIT_COUNT 1)
  set(with_precompiled FALSE)
  if(umbrella AND NOT flags AND NOT macros)
    set(with_precompiled TRUE)
  endif()
endmacro()

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH root)
set(together "")
foreach(source IN LISTS all_sources)
  read_flags("${source}")
  if(with_precompiled)
    list(APPEND together "${source}")
  endif()
endforeach()
list(LENGTH together number)
set(fixed_together FALSE)
file(WRITE "${DEPFILE}" "")
if(number GREATER 1)
  list(TRANSFORM together REPLACE "^${root}/" "")
  list(JOIN together "," SOURCES)
  set(ROOT "${root}")
  set(OUTPUT "${target}.fixed.cpp")
  include("${CMAKE_CURRENT_LIST_DIR}/../../cmake/join_sources.cmake")
  compile("${first_compiler}" -fsyntax-only ${precompiled_0} "-I${root}" -DLOCKSTEP_TEST_FIXED "${target}.fixed.cpp" -MD
          -MT "${target}" -MF "${DEPFILE}")
  set(fixed_together ${compiles})
endif()

foreach(source record_file IN ZIP_LISTS all_sources outputs)
  read_flags("${source}")
  set(record "")
  set(number 0)
  foreach(compiler IN LISTS compilers)
    set(precompiled "")
    if(with_precompiled)
      set(precompiled ${precompiled_${number}})
    endif()
    string(TIMESTAMP begin "%s%f")
    compile("${compiler}" -fsyntax-only ${precompiled} ${flags} "${source}")
    string(TIMESTAMP end "%s%f")
    math(EXPR tenths "(${end} - ${begin}) / 100000")
    string(APPEND record "set(compiles_${number} ${compiles})\nset(tenths_${number} ${tenths})\n"
           "set(output_${number} [====[\n${output}]====])\n")
    math(EXPR number "${number} + 1")
  endforeach()

  if(fixed_together AND with_precompiled)
    string(APPEND record "set(fixed_compiles TRUE)\nset(fixed_output \"\")\n")
  else()
    set(precompiled "")
    if(with_precompiled)
      set(precompiled ${precompiled_0})
    endif()
    compile("${first_compiler}" -fsyntax-only ${precompiled} -DLOCKSTEP_TEST_FIXED "${source}" -MD -MT "${target}" -MF
            "${record_file}.d1")
    string(APPEND record "set(fixed_compiles ${compiles})\nset(fixed_output [====[\n${output}]====])\n")
    # A compiler that fails does not say what it has read; where not even the preprocessor does, this is done each time.
    if(NOT compiles)
      compile("${first_compiler}" -M -DLOCKSTEP_TEST_FIXED "${source}" -MT "${target}" -MF "${record_file}.d1")
      if(NOT compiles)
        file(WRITE "${record_file}.d1" "${target}: ${target}.missing\n")
      endif()
    endif()
    file(READ "${record_file}.d1" read)
    file(APPEND "${DEPFILE}" "${read}")
  endif()
  file(WRITE "${record_file}" "${record}")
endforeach()
