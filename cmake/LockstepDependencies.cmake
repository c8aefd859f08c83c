# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What the library itself needs. Found first; a pinned release is downloaded only when it is missing.

include(FetchContent)

macro(lockstep_begin_fetch name url)
  if(NOT LOCKSTEP_FETCH_DEPENDENCIES)
    message(FATAL_ERROR "lockstep: ${name} was not found; install it, add its prefix to CMAKE_PREFIX_PATH, "
                        "or set LOCKSTEP_FETCH_DEPENDENCIES=ON")
  endif()
  message(STATUS "lockstep: ${name} was not found; fetching ${url}")
endmacro()

# find_package(NAME), else the project in the archive. A macro, because find_package sets variables for its caller.
macro(lockstep_find_or_fetch name url)
  find_package(${name} QUIET)
  if(NOT ${name}_FOUND)
    lockstep_begin_fetch(${name} "${url}")
    FetchContent_Declare(${name} URL "${url}" DOWNLOAD_EXTRACT_TIMESTAMP OFF SYSTEM)
    FetchContent_MakeAvailable(${name})
  endif()
endmacro()

# The same for a library of headers that a find module of ours looks for in the folder `folder_variable`. The subfolder
# does not exist on purpose: the sources are wanted, their build is not.
macro(lockstep_find_or_fetch_headers name folder_variable url)
  set(${folder_variable} "" CACHE PATH "A folder that holds ${name}; searched first")
  find_package(${name} QUIET)
  if(NOT ${name}_FOUND AND LOCKSTEP_FETCH_DEPENDENCIES)
    lockstep_begin_fetch(${name} "${url}")
    string(TOLOWER ${name} lower_name)
    FetchContent_Declare(${name} URL "${url}" DOWNLOAD_EXTRACT_TIMESTAMP OFF SOURCE_SUBDIR no-build)
    FetchContent_MakeAvailable(${name})
    set(${folder_variable} "${${lower_name}_SOURCE_DIR}" CACHE PATH "" FORCE)
  endif()
  find_package(${name} REQUIRED)
endmacro()

find_package(Threads REQUIRED)
find_package(OneDNN 2.6 QUIET)
lockstep_find_or_fetch_headers(CCCLHeaders LOCKSTEP_CCCL_DIR
                               https://github.com/NVIDIA/cccl/archive/refs/tags/v3.0.2.tar.gz)
lockstep_find_or_fetch_headers(
  RapidJSONHeaders LOCKSTEP_RAPIDJSON_DIR
  https://github.com/Tencent/rapidjson/archive/24b5e7a8b27f42fa16b96fc70aade9106cf7102f.tar.gz)
