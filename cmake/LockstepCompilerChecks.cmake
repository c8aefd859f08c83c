# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# All headers, and a program that uses every part of the library, compile without a warning under flags, standards and
# compilers that the project itself is not built with. Each check is a test that runs a compiler with -fsyntax-only.

include(LockstepHeaders)
lockstep_list_headers("${PROJECT_SOURCE_DIR}/include" headers ${LOCKSTEP_OPTIONAL_HEADERS})
list(TRANSFORM headers PREPEND "#include <" OUTPUT_VARIABLE own_includes)
list(TRANSFORM own_includes APPEND ">")

# What the headers include of others.
set(other_includes "")
foreach(header IN LISTS headers)
  file(STRINGS "${PROJECT_SOURCE_DIR}/include/${header}" lines REGEX "^#include <")
  list(FILTER lines EXCLUDE REGEX "<lockstep[/:]")
  list(APPEND other_includes ${lines})
endforeach()
list(REMOVE_DUPLICATES other_includes)
list(JOIN own_includes "\n" own_includes)
list(JOIN other_includes "\n" other_includes)

set(folder "${PROJECT_BINARY_DIR}/compiler_checks")
file(CONFIGURE OUTPUT "${folder}/all_headers.cpp" CONTENT "@own_includes@\n" @ONLY)

# windows.h defines min and max. The others' headers come first: those of libstdc++ do away with such macros, those of
# CCCL 3.0 do not compile after them.
file(CONFIGURE OUTPUT "${folder}/min_max.cpp" CONTENT "@other_includes@\n\
#define min(a, b) (((a) < (b)) ? (a) : (b))\n#define max(a, b) (((a) > (b)) ? (a) : (b))\n@own_includes@\n" @ONLY)

# The compiler's own folders are left out: named again, they would be searched in another order.
set(folders "$<TARGET_PROPERTY:lockstep,INTERFACE_INCLUDE_DIRECTORIES>")
list(JOIN CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES "|" own_folders)
string(REGEX REPLACE "([.+])" "\\\\\\1" own_folders "${own_folders}")
set(folders "$<FILTER:${folders},EXCLUDE,^(${PROJECT_SOURCE_DIR}/include|${own_folders})$>")

set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wdeprecated -Werror)

# lockstep_check_compiler(NAME COMPILER SOURCES... FLAGS...): the sources compile with those flags, and no warning.
function(lockstep_check_compiler name compiler)
  add_test(NAME "compiler: ${name}"
           COMMAND "${compiler}" -fsyntax-only ${warnings} "-I${PROJECT_SOURCE_DIR}/include"
                   "$<$<BOOL:${folders}>:-isystem$<JOIN:${folders},$<SEMICOLON>-isystem>>" ${ARGN}
           COMMAND_EXPAND_LISTS)
  set_tests_properties("compiler: ${name}" PROPERTIES LABELS compilers TIMEOUT 300)
endfunction()

# Stands in for a check whose compiler is missing: ctest lists it as skipped, and says why.
function(lockstep_skip_compiler name reason)
  message(STATUS "lockstep: the test 'compiler: ${name}' is skipped: ${reason}")
  add_test(NAME "compiler: ${name}" COMMAND "${CMAKE_COMMAND}" -E echo "skipped: ${reason}")
  set_tests_properties("compiler: ${name}" PROPERTIES LABELS compilers SKIP_REGULAR_EXPRESSION "^skipped:")
endfunction()

set(sources "${folder}/all_headers.cpp" "${PROJECT_SOURCE_DIR}/tests/compilers/every_part.cpp")

lockstep_check_compiler("conversions of sign, char without one" "${CMAKE_CXX_COMPILER}" ${sources} -std=c++20
                        -funsigned-char)
lockstep_check_compiler("macros min and max" "${CMAKE_CXX_COMPILER}" "${folder}/min_max.cpp" -std=c++20)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_OBJDUMP)
  add_test(NAME "compiler: nothing makes a user's function cold"
           COMMAND "${CMAKE_COMMAND}" -D "COMPILER=${CMAKE_CXX_COMPILER}" -D "OBJDUMP=${CMAKE_OBJDUMP}" -D
                   "SOURCE=${PROJECT_SOURCE_DIR}/tests/compilers/warm.cpp" -D "OBJECT=${folder}/warm.o" -D
                   "FLAGS=-O2;-std=c++20;-I${PROJECT_SOURCE_DIR}/include;$<$<BOOL:${folders}>:-isystem$<JOIN:${folders},;-isystem>>"
                   -P "${PROJECT_SOURCE_DIR}/cmake/check_warm.cmake")
  set_tests_properties("compiler: nothing makes a user's function cold" PROPERTIES LABELS compilers TIMEOUT 300)
endif()

find_program(CLANG_22_PROGRAM clang++-22)
find_program(CLANG_19_PROGRAM clang++-19)
mark_as_advanced(CLANG_22_PROGRAM CLANG_19_PROGRAM)

if(CLANG_22_PROGRAM)
  lockstep_check_compiler("clang, C++26" "${CLANG_22_PROGRAM}" ${sources} -std=c++26)
else()
  lockstep_skip_compiler("clang, C++26" "no clang++-22 is found")
endif()

set(LOCKSTEP_LIBCXX_INCLUDE_DIR "" CACHE PATH "Headers of libc++ 19 to check with; those of clang++-19 if empty")
set(libcxx -stdlib=libc++)
if(LOCKSTEP_LIBCXX_INCLUDE_DIR)
  set(libcxx -nostdinc++ -isystem "${LOCKSTEP_LIBCXX_INCLUDE_DIR}")
endif()
set(has_libcxx FALSE)
if(CLANG_19_PROGRAM)
  file(WRITE "${folder}/libcxx.cpp" "#include <version>\n#ifndef _LIBCPP_VERSION\n#error\n#endif\n")
  execute_process(
    COMMAND "${CLANG_19_PROGRAM}" ${libcxx} -std=c++20 -fsyntax-only "${folder}/libcxx.cpp"
    RESULT_VARIABLE code
    OUTPUT_QUIET ERROR_QUIET)
  if(code EQUAL 0)
    set(has_libcxx TRUE)
  endif()
endif()
if(has_libcxx)
  lockstep_check_compiler("clang, libc++" "${CLANG_19_PROGRAM}" ${sources} "${folder}/min_max.cpp" -std=c++20
                          ${libcxx})
else()
  lockstep_skip_compiler("clang, libc++" "no clang++-19 with libc++ is found")
endif()

find_program(REALTIME_CLANG_PROGRAM NAMES clang++-22 clang++-21 clang++-20
             DOC "A clang with the realtime sanitizer, which watches predictions")
mark_as_advanced(REALTIME_CLANG_PROGRAM)
set(has_realtime FALSE)
if(REALTIME_CLANG_PROGRAM)
  file(WRITE "${folder}/no_realtime.cpp" "int main() {}\n")
  execute_process(
    COMMAND "${REALTIME_CLANG_PROGRAM}" -fsanitize=realtime "${folder}/no_realtime.cpp" -o "${folder}/no_realtime"
    RESULT_VARIABLE code
    OUTPUT_QUIET ERROR_QUIET)
  if(code EQUAL 0)
    set(has_realtime TRUE)
  endif()
endif()
foreach(program IN ITEMS realtime realtime_step)
  if(program STREQUAL "realtime")
    set(what "predictions in real time")
    set(libraries "")
  else()
    set(what "steps in real time")
    set(libraries "$<TARGET_FILE:DNNL::dnnl>;-lpthread")
  endif()
  if(has_realtime)
    add_test(NAME "compiler: ${what}"
             COMMAND "${CMAKE_COMMAND}" -D "COMPILER=${REALTIME_CLANG_PROGRAM}" -D
                     "SOURCE=${PROJECT_SOURCE_DIR}/tests/compilers/${program}.cpp" -D "PROGRAM=${folder}/${program}" -D
                     "FLAGS=-O1;-std=c++20;-I${PROJECT_SOURCE_DIR}/include;$<$<BOOL:${folders}>:-isystem$<JOIN:${folders},;-isystem>>"
                     -D "LIBRARIES=${libraries}" -P "${PROJECT_SOURCE_DIR}/cmake/check_realtime.cmake")
    set_tests_properties("compiler: ${what}" PROPERTIES LABELS compilers TIMEOUT 300)
  else()
    lockstep_skip_compiler("${what}" "no clang++-20 or later with its realtime sanitizer is found")
  endif()
endforeach()
