# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Checks one program that must not compile. Run: cmake -D SETTINGS=settings.cmake -D SOURCE=case.cpp [-D ROW=FILE]
# -P run_case.cmake
#
# Each compiler must refuse SOURCE, print the text after `// expect: ` within its first 12 lines, and print 40 lines at
# most; the first compiler must accept SOURCE with -DLOCKSTEP_TEST_FIXED, or the case would also "pass" for a misspelt
# name. A line `// flags: ` adds flags to what must fail. ROW is written: the case's line of the table.

cmake_minimum_required(VERSION 3.25)
include("${SETTINGS}") # compilers, own_folder, folders, implicit_folders

set(lines_with_text 12)
set(lines_at_most 40)

function(reject sentence)
  message(FATAL_ERROR "${SOURCE}\nrejected: ${sentence}\n${ARGN}")
endfunction()

# Sets `compiles` and `output` for the caller.
function(compile compiler)
  list(REMOVE_ITEM folders "${own_folder}" ${implicit_folders})
  list(REMOVE_DUPLICATES folders)
  list(TRANSFORM folders PREPEND "-isystem")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env LC_ALL=C "${compiler}" -std=c++20 -fsyntax-only "-I${own_folder}" ${folders} ${ARGN}
            "${SOURCE}"
    OUTPUT_VARIABLE text
    ERROR_VARIABLE text
    RESULT_VARIABLE code)
  if(code EQUAL 0)
    set(compiles TRUE PARENT_SCOPE)
  else()
    set(compiles FALSE PARENT_SCOPE)
  endif()
  set(output "${text}" PARENT_SCOPE)
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

file(STRINGS "${SOURCE}" expected REGEX "^// expect: .+" LIMIT_COUNT 1)
if(NOT expected)
  reject("no line '// expect: TEXT'")
endif()
string(REGEX REPLACE "^// expect: " "" expected "${expected}")
string(REGEX REPLACE "[][;]" " " expected "${expected}") # as count_lines does

file(STRINGS "${SOURCE}" flags REGEX "^// flags: .+" LIMIT_COUNT 1)
string(REGEX REPLACE "^// flags: " "" flags "${flags}")
separate_arguments(flags UNIX_COMMAND "${flags}")

cmake_path(GET SOURCE STEM row)
foreach(compiler IN LISTS compilers)
  string(TIMESTAMP begin "%s%f")
  compile("${compiler}" ${flags})
  string(TIMESTAMP end "%s%f")
  if(compiles)
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
  math(EXPR tenths "(${end} - ${begin}) / 100000")
  math(EXPR whole "${tenths} / 10")
  math(EXPR tenths "${tenths} % 10")
  cmake_path(GET compiler FILENAME name)
  string(APPEND row " | ${name}: line ${line} of ${length}, ${whole}.${tenths} s")
endforeach()

list(GET compilers 0 compiler)
compile("${compiler}" -DLOCKSTEP_TEST_FIXED)
if(NOT compiles)
  reject("with -DLOCKSTEP_TEST_FIXED it does not compile" "The compiler said:\n${output}")
endif()
if(ROW)
  file(WRITE "${ROW}" "${row}\n")
endif()
