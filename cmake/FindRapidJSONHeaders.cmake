# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#[[
The headers of RapidJSON, which reads and writes the header of a safetensors file, and reads a tokenizer's vocabulary.

Gives the target RapidJSONHeaders::RapidJSONHeaders and the variables RapidJSONHeaders_FOUND and
RapidJSONHeaders_INCLUDE_DIR. Where LOCKSTEP_RAPIDJSON_DIR is set (a checkout, or a prefix), only that folder is
searched. Else looks in CMake's prefixes, then in lockstep_deps_dir, which is what an installed lockstep carries along.
RapidJSON's own package is not used: it names no target in the release that most systems have.
]]

# What was found is looked for again when it has gone, and when it lies outside the folder that is asked for.
if(RapidJSONHeaders_INCLUDE_DIR)
  set(_rapidjson_asked "${LOCKSTEP_RAPIDJSON_DIR}")
  cmake_path(IS_PREFIX _rapidjson_asked "${RapidJSONHeaders_INCLUDE_DIR}" NORMALIZE _rapidjson_as_asked)
  if(NOT EXISTS "${RapidJSONHeaders_INCLUDE_DIR}/rapidjson/reader.h" OR (LOCKSTEP_RAPIDJSON_DIR
                                                                         AND NOT _rapidjson_as_asked))
    unset(RapidJSONHeaders_INCLUDE_DIR CACHE)
  endif()
endif()

if(LOCKSTEP_RAPIDJSON_DIR)
  set(_rapidjson_hint "LOCKSTEP_RAPIDJSON_DIR, ${LOCKSTEP_RAPIDJSON_DIR}, holds no rapidjson/reader.h")
  find_path(
    RapidJSONHeaders_INCLUDE_DIR rapidjson/reader.h
    PATHS "${LOCKSTEP_RAPIDJSON_DIR}"
    PATH_SUFFIXES include
    NO_DEFAULT_PATH)
else()
  set(_rapidjson_hint "RapidJSON is needed (headers only)")
  find_path(RapidJSONHeaders_INCLUDE_DIR rapidjson/reader.h)
  if(NOT RapidJSONHeaders_INCLUDE_DIR AND lockstep_deps_dir)
    find_path(RapidJSONHeaders_INCLUDE_DIR rapidjson/reader.h PATHS "${lockstep_deps_dir}/rapidjson" NO_DEFAULT_PATH)
  endif()
endif()
mark_as_advanced(RapidJSONHeaders_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  RapidJSONHeaders
  REQUIRED_VARS RapidJSONHeaders_INCLUDE_DIR
  REASON_FAILURE_MESSAGE
    "${_rapidjson_hint}: install rapidjson-dev (Debian, Ubuntu), or set LOCKSTEP_RAPIDJSON_DIR to a checkout or a prefix")

if(RapidJSONHeaders_FOUND AND NOT TARGET RapidJSONHeaders::RapidJSONHeaders)
  add_library(RapidJSONHeaders::RapidJSONHeaders INTERFACE IMPORTED)
  target_include_directories(RapidJSONHeaders::RapidJSONHeaders SYSTEM INTERFACE "${RapidJSONHeaders_INCLUDE_DIR}")
endif()
