# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Compiles tests/compilers/warm.cpp and fails when a function `warm_...` of it lies in a section of cold code:
# cmake -D COMPILER=g++ -D OBJDUMP=objdump -D SOURCE=warm.cpp -D OBJECT=FILE -D "FLAGS=-O2;..." -P check_warm.cmake
cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND "${COMPILER}" ${FLAGS} -c "${SOURCE}" -o "${OBJECT}" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${OBJDUMP}" -t -C "${OBJECT}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)

string(REGEX MATCHALL "[^\n]* F [^\n]* warm_[^\n]*" symbols "${symbols}")
# The parts that g++ has cut off, for errors, are cold indeed.
list(FILTER symbols EXCLUDE REGEX "\\[clone [^]]*\\.cold")
list(LENGTH symbols found)
file(STRINGS "${SOURCE}" functions REGEX "^float warm_")
list(LENGTH functions expected)
if(NOT found EQUAL expected)
  message(FATAL_ERROR "expected ${expected} functions warm_..., found ${found} in ${OBJECT}")
endif()
list(FILTER symbols INCLUDE REGEX " F \\.text\\.unlikely")
if(symbols)
  list(TRANSFORM symbols REPLACE "^.* (warm_[a-z_]+)\\(.*$" "\\1")
  list(JOIN symbols ", " symbols)
  message(FATAL_ERROR "g++ takes these functions for cold: ${symbols}. What they call surely calls a [[gnu::cold]] "
                      "function; leave that attribute to what is called on errors alone.")
endif()
