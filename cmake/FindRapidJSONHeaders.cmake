# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#[[
The headers of RapidJSON, which reads and writes the header of a safetensors file.

Gives the target RapidJSONHeaders::RapidJSONHeaders and the variables RapidJSONHeaders_FOUND and
RapidJSONHeaders_INCLUDE_DIR. Looks in LOCKSTEP_RAPIDJSON_DIR (a checkout, or a prefix) and in CMake's prefixes.
RapidJSON's own package is not used: it names no target in the release that most systems have.
]]

find_path(
  RapidJSONHeaders_INCLUDE_DIR rapidjson/reader.h
  HINTS "${LOCKSTEP_RAPIDJSON_DIR}"
  PATH_SUFFIXES include)
mark_as_advanced(RapidJSONHeaders_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  RapidJSONHeaders
  REQUIRED_VARS RapidJSONHeaders_INCLUDE_DIR
  REASON_FAILURE_MESSAGE
    "RapidJSON is needed (headers only): install rapidjson-dev (Debian, Ubuntu) or set LOCKSTEP_RAPIDJSON_DIR")

if(RapidJSONHeaders_FOUND AND NOT TARGET RapidJSONHeaders::RapidJSONHeaders)
  add_library(RapidJSONHeaders::RapidJSONHeaders INTERFACE IMPORTED)
  target_include_directories(RapidJSONHeaders::RapidJSONHeaders SYSTEM INTERFACE "${RapidJSONHeaders_INCLUDE_DIR}")
endif()
