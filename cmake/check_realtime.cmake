# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Compiles a program with the realtime sanitizer and runs it, and fails when it does what a thread with a deadline must
# not, or when, with an argument, the sanitizer does not see a function that does:
# cmake -D COMPILER=clang++-22 -D SOURCE=realtime.cpp -D PROGRAM=FILE -D "FLAGS=-std=c++20;..." -D "LIBRARIES=..."
#       -P check_realtime.cmake
cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND "${COMPILER}" ${FLAGS} -fsanitize=realtime "${SOURCE}" -o "${PROGRAM}" ${LIBRARIES}
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${PROGRAM}" RESULT_VARIABLE code ERROR_VARIABLE errors)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "${SOURCE} is not fit for real time (exit code ${code}):\n${errors}")
endif()
execute_process(COMMAND "${PROGRAM}" allocate RESULT_VARIABLE code ERROR_VARIABLE errors)
if(code EQUAL 0 OR NOT errors MATCHES "RealtimeSanitizer")
  message(FATAL_ERROR "the realtime sanitizer did not end a program that allocates (exit code ${code}):\n${errors}")
endif()
