# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How the compilers are called here. Included by the scripts below, after SETTINGS.

# compile(COMPILER FLAGS...): sets `compiles` and `output`.
function(compile compiler)
  list(REMOVE_ITEM folders "${own_folder}" ${implicit_folders})
  list(REMOVE_DUPLICATES folders)
  list(TRANSFORM folders PREPEND "-isystem")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env LC_ALL=C "${compiler}" -std=c++20 "-I${own_folder}" ${folders} ${ARGN}
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
