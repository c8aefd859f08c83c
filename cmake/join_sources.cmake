# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Writes one source that stands for several: cmake -D OUTPUT=FILE -D ROOT=FOLDER -D "SOURCES=A,B" -P join_sources.cmake
#
# First come the lines of the preprocessor that include, and the conditions around them; so each source finds its
# headers read already, and lies in a namespace of its own, where no name meets another's. Sources are named by their
# place below ROOT, a folder of included files, so that what ccache keeps serves checkouts that lie elsewhere.
cmake_minimum_required(VERSION 3.25)

string(REPLACE "," ";" SOURCES "${SOURCES}")
set(includes "")
set(bodies "")
foreach(source IN LISTS SOURCES)
  cmake_path(GET source PARENT_PATH folder)
  file(STRINGS "${ROOT}/${source}" lines REGEX "^#(include|if|el|endif)")
  foreach(line IN LISTS lines)
    # What lies beside the source is found there first.
    if(line MATCHES "^#include \"(.+)\"")
      if(EXISTS "${ROOT}/${folder}/${CMAKE_MATCH_1}")
        set(line "#include \"${folder}/${CMAKE_MATCH_1}\"")
      endif()
    endif()
    string(APPEND includes "${line}\n")
  endforeach()
  string(MAKE_C_IDENTIFIER "${source}" name)
  string(APPEND bodies "namespace in_${name} {\n#include \"${source}\"\n}\n")
endforeach()
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT "@includes@\n@bodies@" @ONLY)
