# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Fails when a page links to a file of the repository that does not exist:
# cmake -D ROOT=... -P check_links.cmake

file(GLOB pages "${ROOT}/*.md" "${ROOT}/docs/*.md")
set(links 0)
foreach(page IN LISTS pages)
  file(READ "${page}" text)
  cmake_path(GET page PARENT_PATH folder)
  # Brackets and semicolons mean something to CMake's lists.
  string(REPLACE "](" "\n@link " text "${text}")
  string(REGEX REPLACE "[][;]" " " text "${text}")
  string(REGEX MATCHALL "@link [^)#: ]+" found "${text}")
  foreach(link IN LISTS found)
    string(SUBSTRING "${link}" 6 -1 target)
    # Neither a page elsewhere nor a lambda in an example.
    if(NOT target MATCHES "\\.")
      continue()
    endif()
    math(EXPR links "${links} + 1")
    if(NOT EXISTS "${folder}/${target}")
      message(SEND_ERROR "${page} links to ${target}, which does not exist")
    endif()
  endforeach()
endforeach()
if(links EQUAL 0)
  message(FATAL_ERROR "no links were found in the pages of ${ROOT}")
endif()
