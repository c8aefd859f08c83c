# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What extract_code.cmake makes of page.md: cmake -D FOLDER=... -D EXTRACT=... -D OUTPUT=... -P run.cmake

execute_process(COMMAND "${CMAKE_COMMAND}" -D "ROOT=${FOLDER}" -D "WRAPPERS=${FOLDER}" -D "OUTPUT=${OUTPUT}" -P "${EXTRACT}"
                RESULT_VARIABLE code OUTPUT_VARIABLE said ERROR_VARIABLE said)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "extract_code.cmake failed:\n${said}")
endif()
file(READ "${OUTPUT}" made)

function(expect text)
  string(FIND "${made}" "${text}" at)
  if(at EQUAL -1)
    message(SEND_ERROR "expected in ${OUTPUT}:\n${text}")
  endif()
endfunction()

expect("\n#include <string>\n")
expect("#line 5 \"page.md\"\n\nint twice(int x) { return 2 * x; }\nint run_block() {\n  std::string text = \"a;b[0]\";")
expect("- 12;\nreturn 0; }")
expect("TEST_CASE(\"page.md:4\", \"[docs]\") { lockstep_test::run_in_new_folder(block_1::run_block); }")
expect("inline int run_block() {\n  \n#line 15 \"page.md\"\nconst int x = 1;\n")
expect("TEST_CASE(\"page.md:14\", \"[docs]\") { lockstep_test::run_in_new_folder(block_2::run_block); }")
expect("TEST_CASE(\"page.md:19 compiles\", \"[docs]\")")
expect("TEST_CASE(\"page.md:28\", \"[docs]\") { FAIL(\"the block has no line before it")
expect("TEST_CASE(\"page.md:33\", \"[docs]\") { FAIL(\"the block is inside unknown")
expect("TEST_CASE(\"page.md:38\", \"[docs]\") { FAIL(\"the block has no line before it")
expect("TEST_CASE(\"page.md:43\", \"[docs]\") { FAIL(\"the block is a program without int main()")
string(REGEX MATCHALL "TEST_CASE" cases "${made}")
list(LENGTH cases count)
if(NOT count EQUAL 7)
  message(SEND_ERROR "expected 7 tests, got ${count}")
endif()
