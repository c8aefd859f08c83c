# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Makes one source of tests from the C++ blocks of README.md and docs/*.md, so that every block compiles and runs:
# cmake -D ROOT=... -D WRAPPERS=... -D OUTPUT=... -P extract_code.cmake
#
# The line before a block's fence is a comment of HTML that says what the block is:
#   <!-- program -->                   all of a program, which ends with its main()
#   <!-- inside NAME -->               a fragment, compiled and run where @BLOCK@ stands in WRAPPERS/NAME.in
#   <!-- inside NAME, not run: WHY --> the same, only compiled
#   <!-- not compiled: WHY -->         left out
# A block without such a line, or with one that means nothing, becomes a test that fails. Each block has a namespace of
# its own; its #include lines move to the top. Messages of the compiler give the page and line.

cmake_minimum_required(VERSION 3.25)

set(includes "")
set(tests "")
set(count 0)

# The line number of a byte of `text`.
function(line_of text position result)
  string(SUBSTRING "${text}" 0 ${position} before)
  string(REGEX REPLACE "[^\n]" "" newlines "${before}")
  string(LENGTH "${newlines}" lines)
  math(EXPR lines "${lines} + 1")
  set(${result} ${lines} PARENT_SCOPE)
endfunction()

# Moves the #include lines of `code` to the list `includes`, and leaves empty lines.
macro(take_includes code)
  string(REGEX MATCHALL "#include [<\"][^>\"\n]+[>\"]" found "${${code}}")
  list(APPEND includes ${found})
  string(REGEX REPLACE "#include [<\"][^>\"\n]+[>\"][^\n]*" "" ${code} "${${code}}")
endmacro()

function(append_test text)
  set(tests "${tests}${text}" PARENT_SCOPE)
endfunction()

file(GLOB pages RELATIVE "${ROOT}" "${ROOT}/*.md" "${ROOT}/docs/*.md")
foreach(page IN LISTS pages)
  file(READ "${ROOT}/${page}" text)
  set(position 0)
  while(TRUE)
    string(SUBSTRING "${text}" ${position} -1 rest)
    string(FIND "${rest}" "\n```" at)
    if(at EQUAL -1)
      break()
    endif()
    math(EXPR fence "${position} + ${at} + 1")
    math(EXPR info_begin "${fence} + 3")
    string(SUBSTRING "${text}" ${info_begin} -1 rest)
    string(FIND "${rest}" "\n" length)
    string(SUBSTRING "${rest}" 0 ${length} info)
    math(EXPR body "${info_begin} + ${length} + 1")
    string(SUBSTRING "${text}" ${body} -1 rest)
    string(FIND "${rest}" "```" length)
    if(length EQUAL -1)
      message(FATAL_ERROR "${page}: a block is not closed")
    endif()
    string(SUBSTRING "${rest}" 0 ${length} block)
    math(EXPR position "${body} + ${length} + 3")
    if(NOT info MATCHES "^(cpp|c\\+\\+|cxx|C\\+\\+)")
      continue()
    endif()

    math(EXPR count "${count} + 1")
    line_of("${text}" ${fence} line)
    math(EXPR body_line "${line} + 1")
    set(name "${page}:${line}")
    set(mark "")
    string(SUBSTRING "${text}" 0 ${fence} before)
    if(before MATCHES "<!-- ([^\n]*) -->\n$")
      set(mark "${CMAKE_MATCH_1}")
    endif()

    set(fault "")
    set(run TRUE)
    set(wrapped "@BLOCK@")
    if(mark MATCHES "^not compiled: .")
      message(STATUS "${name}: left out (${mark})")
      continue()
    elseif(mark STREQUAL "program")
      string(REPLACE "int main()" "int run_block()" wrapped_block "${block}")
      if(wrapped_block STREQUAL block)
        set(fault "is a program without int main()")
      endif()
      # main() may end without a return statement, other functions may not.
      string(FIND "${wrapped_block}" "}" end REVERSE)
      string(SUBSTRING "${wrapped_block}" 0 ${end} head)
      set(block "${head}return 0; }\n")
    elseif(mark MATCHES "^inside ([a-z_0-9]+)(, not run: .+)?$")
      set(wrapper "${WRAPPERS}/${CMAKE_MATCH_1}.in")
      if(NOT "${CMAKE_MATCH_2}" STREQUAL "")
        set(run FALSE)
      endif()
      if(EXISTS "${wrapper}")
        file(READ "${wrapper}" wrapped)
      else()
        set(fault "is inside ${CMAKE_MATCH_1}, and there is no ${CMAKE_MATCH_1}.in")
      endif()
    else()
      set(fault "has no line before it that says how to test it; cmake/extract_code.cmake lists them")
    endif()

    if(fault)
      message(STATUS "${name}: ${fault}")
      append_test("TEST_CASE(\"${name}\", \"[docs]\") { FAIL(\"the block ${fault}\"); }\n\n")
      continue()
    endif()
    take_includes(block)
    take_includes(wrapped)
    string(REPLACE "@BLOCK@" "\n#line ${body_line} \"${page}\"\n${block}\n#line 1 \"what stands after the block\"\n"
           wrapped "${wrapped}")
    append_test("namespace block_${count} {\n#line 1 \"what stands before the block of ${name}\"\n${wrapped}\n}\n")
    if(run)
      append_test("TEST_CASE(\"${name}\", \"[docs]\") { lockstep_test::run_in_new_folder(block_${count}::run_block); }\n\n")
    else()
      append_test("TEST_CASE(\"${name} compiles\", \"[docs]\") { CHECK(&block_${count}::run_block != nullptr); }\n\n")
    endif()
  endwhile()
endforeach()

if(count EQUAL 0)
  message(FATAL_ERROR "no C++ blocks were found in the pages of ${ROOT}")
endif()
list(REMOVE_DUPLICATES includes)
list(JOIN includes "\n" includes)
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT "// Made from the pages by cmake/extract_code.cmake.\n#include \"docs/docs_support.hpp\"\n\n@includes@\n\n\
#include \"support/catch.hpp\"\n\n@tests@" @ONLY)
