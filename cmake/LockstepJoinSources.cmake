# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Several sources of tests as one: most of what a small test costs is the reading of headers, and the same templates.

set(LOCKSTEP_TEST_SOURCES_AT_ONCE 1 CACHE STRING "How many sources of tests are compiled as one")

# lockstep_join_sources(RESULT EXTENSION SOURCES...): sets RESULT to sources that stand for the given ones. A source
# that holds the comment `// alone: WHY` stays as it is.
function(lockstep_join_sources result extension)
  set(sources ${ARGN})
  set(root "${PROJECT_SOURCE_DIR}/tests")
  if(NOT LOCKSTEP_TEST_SOURCES_AT_ONCE GREATER 1)
    set(${result} "${sources}" PARENT_SCOPE)
    return()
  endif()

  set(all "")
  set(together "")
  foreach(source IN LISTS sources)
    file(STRINGS "${source}" alone REGEX "^// alone: " LIMIT_COUNT 1)
    if(alone)
      list(APPEND all "${source}")
    else()
      cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${root}")
      list(APPEND together "${source}")
    endif()
  endforeach()

  set(script "${PROJECT_SOURCE_DIR}/cmake/join_sources.cmake")
  list(LENGTH together number)
  math(EXPR shares "(${number} + ${LOCKSTEP_TEST_SOURCES_AT_ONCE} - 1) / ${LOCKSTEP_TEST_SOURCES_AT_ONCE}")
  set(first 0)
  set(share 0)
  while(share LESS shares)
    # Shares of equal size, but for one.
    math(EXPR share "${share} + 1")
    math(EXPR end "${number} * ${share} / ${shares}")
    math(EXPR count "${end} - ${first}")
    list(SUBLIST together ${first} ${count} members)
    set(first ${end})

    set(output "${CMAKE_CURRENT_BINARY_DIR}/${result}_${share}${extension}")
    list(TRANSFORM members PREPEND "${root}/" OUTPUT_VARIABLE files)
    list(JOIN members "," members)
    add_custom_command(
      OUTPUT "${output}"
      COMMAND "${CMAKE_COMMAND}" -D "OUTPUT=${output}" -D "ROOT=${root}" -D "SOURCES=${members}" -P "${script}"
      DEPENDS ${files} "${script}"
      COMMENT "Joining sources in ${result}_${share}${extension}"
      VERBATIM)
    list(APPEND all "${output}")
  endwhile()
  set(${result} "${all}" PARENT_SCOPE)
endfunction()
