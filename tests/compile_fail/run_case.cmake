# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Judges what compilers said of one program that must not compile. Run: cmake -D SETTINGS=settings.cmake
# -D SOURCE=case.cpp -D RECORD=FILE [-D ROW=FILE] -P run_case.cmake
#
# RECORD is what compile_cases.cmake wrote. Each compiler must refuse SOURCE, print the text after `// expect: ` within
# its first 12 lines, and print 40 lines at most; the first compiler must accept SOURCE with -DLOCKSTEP_TEST_FIXED, or
# the case would also "pass" for a misspelt name. ROW is written: the case's line of the table.

cmake_minimum_required(VERSION 3.25)
include("${SETTINGS}") # compilers

set(lines_with_text 12)
set(lines_at_most 40)

function(reject sentence)
  message(FATAL_ERROR "${SOURCE}\nrejected: ${sentence}\n${ARGN}")
endfunction()

# Sets `result` to how many lines `text` has, and `head` to the first `count` of them.
function(count_lines text count result head)
  string(REGEX REPLACE "[][;]" " " text "${text}") # what would confuse a list
  string(REGEX REPLACE "\n$" "" text "${text}")
  string(REPLACE "\n" ";" lines "${text}")
  list(LENGTH lines length)
  list(SUBLIST lines 0 ${count} lines)
  list(JOIN lines "\n" lines)
  set(${result} ${length} PARENT_SCOPE)
  set(${head} "${lines}" PARENT_SCOPE)
endfunction()

if(NOT EXISTS "${RECORD}")
  reject("it was not compiled" "Please build the target compile_fail first.")
endif()
include("${RECORD}")

file(STRINGS "${SOURCE}" expected REGEX "^// expect: .+" LIMIT_COUNT 1)
if(NOT expected)
  reject("no line '// expect: TEXT'")
endif()
string(REGEX REPLACE "^// expect: " "" expected "${expected}")
string(REGEX REPLACE "\\\\?[][;]" " " expected "${expected}") # as count_lines does; file(STRINGS) escapes semicolons

cmake_path(GET SOURCE STEM row)
set(number 0)
foreach(compiler IN LISTS compilers)
  set(output "${output_${number}}")
  if(compiles_${number})
    reject("it compiled" "It must not: ${compiler}")
  endif()
  count_lines("${output}" ${lines_with_text} length head)
  string(FIND "${head}" "${expected}" position)
  if(position EQUAL -1)
    reject("the expected text is not in the first ${lines_with_text} lines"
           "Expected: ${expected}\n${compiler} said:\n${output}")
  endif()
  if(length GREATER lines_at_most)
    reject("the compiler printed more than ${lines_at_most} lines" "${compiler} printed ${length}:\n${output}")
  endif()
  string(SUBSTRING "${head}" 0 ${position} before)
  string(REGEX MATCHALL "\n" before "${before}")
  list(LENGTH before line)
  math(EXPR line "${line} + 1")
  math(EXPR whole "${tenths_${number}} / 10")
  math(EXPR tenths "${tenths_${number}} % 10")
  cmake_path(GET compiler FILENAME name)
  string(APPEND row " | ${name}: line ${line} of ${length}, ${whole}.${tenths} s")
  math(EXPR number "${number} + 1")
endforeach()

if(NOT fixed_compiles)
  reject("with -DLOCKSTEP_TEST_FIXED it does not compile" "The compiler said:\n${fixed_output}")
endif()
if(ROW)
  file(WRITE "${ROW}" "${row}\n")
endif()
