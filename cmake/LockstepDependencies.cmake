# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What the library itself needs. Found first; a pinned release is downloaded only when it is missing.

include(FetchContent)

set(LOCKSTEP_CCCL_DIR "" CACHE PATH "A folder that holds CCCL's headers; no other is searched when it is set")
set(LOCKSTEP_RAPIDJSON_DIR "" CACHE PATH "A folder that holds RapidJSON's headers; no other is searched when it is set")

# Downloads an archive to `file`, unless it lies there. FetchContent itself tries for over a minute, and then prints its
# log instead of what to do.
function(lockstep_download name url sha256 file remedy)
  if(NOT EXISTS "${file}")
    message(STATUS "lockstep: ${name} was not found; fetching ${url}")
    file(DOWNLOAD "${url}" "${file}.part" INACTIVITY_TIMEOUT 30 STATUS status)
    list(POP_FRONT status code)
    if(code EQUAL 0)
      file(SHA256 "${file}.part" found)
      if(NOT found STREQUAL sha256)
        set(code 1)
        set(status "its SHA-256 is ${found} instead of ${sha256}")
      endif()
    endif()
    if(NOT code EQUAL 0)
      file(REMOVE "${file}.part")
      message(FATAL_ERROR "lockstep: ${name} was not found, and could not be downloaded (${status}): ${remedy}\n${url}")
    endif()
    file(RENAME "${file}.part" "${file}")
  endif()
endfunction()

# lockstep_fetch(NAME URL SHA256 REMEDY FLAGS...): makes the project in the archive available. FLAGS go to
# FetchContent_Declare.
macro(lockstep_fetch name url sha256 remedy)
  if(NOT LOCKSTEP_FETCH_DEPENDENCIES)
    message(FATAL_ERROR "lockstep: ${name} was not found: ${remedy}, or set LOCKSTEP_FETCH_DEPENDENCIES to ON")
  endif()
  string(TOLOWER ${name} lockstep_name)
  string(TOUPPER ${name} lockstep_upper_name)
  string(SUBSTRING ${sha256} 0 8 lockstep_archive) # another release does not take this one's place
  set(lockstep_archive "${FETCHCONTENT_BASE_DIR}/${lockstep_name}-${lockstep_archive}")
  if("${url}" MATCHES "\\.whl$")
    string(APPEND lockstep_archive .zip)
  else()
    string(APPEND lockstep_archive .tar.gz)
  endif()
  if(NOT FETCHCONTENT_FULLY_DISCONNECTED AND NOT FETCHCONTENT_SOURCE_DIR_${lockstep_upper_name})
    lockstep_download(${name} "${url}" ${sha256} "${lockstep_archive}" "${remedy}")
  endif()
  FetchContent_Declare(${name} URL "${lockstep_archive}" URL_HASH "SHA256=${sha256}" DOWNLOAD_EXTRACT_TIMESTAMP OFF
                       ${ARGN})
  FetchContent_MakeAvailable(${name})
endmacro()

# find_package(NAME), else the project in the archive. A macro, because find_package sets variables for its caller.
macro(lockstep_find_or_fetch name url sha256)
  find_package(${name} QUIET)
  if(NOT ${name}_FOUND)
    lockstep_fetch(${name} "${url}" ${sha256} "install it, or add its prefix to CMAKE_PREFIX_PATH" SYSTEM)
  endif()
endmacro()

# The same for a library of headers that a find module of ours looks for in the folder `folder_variable`. The subfolder
# does not exist on purpose: the sources are wanted, their build is not.
macro(lockstep_find_or_fetch_headers name folder_variable url sha256)
  find_package(${name} QUIET)
  if(NOT ${name}_FOUND
     AND LOCKSTEP_FETCH_DEPENDENCIES
     AND NOT ${folder_variable})
    lockstep_fetch(${name} "${url}" ${sha256} "install it, or set ${folder_variable} to a folder that holds it"
                   SOURCE_SUBDIR no-build)
    set(${folder_variable} "${${lockstep_name}_SOURCE_DIR}")
  endif()
  find_package(${name} REQUIRED)
endmacro()

find_package(Threads REQUIRED)
find_package(OneDNN 2.6 QUIET)
# CCCL 3.0.1. Its wheel is a zip of the headers alone, a tenth of the release's sources, and the same on every platform.
lockstep_find_or_fetch_headers(
  CCCLHeaders
  LOCKSTEP_CCCL_DIR
  https://files.pythonhosted.org/packages/ab/fb/0384bb2129bed6b1b39f8e44471c615ab5ab29b7e55817538a1d390d8f84/nvidia_cuda_cccl-13.0.85-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649)
lockstep_find_or_fetch_headers(
  RapidJSONHeaders LOCKSTEP_RAPIDJSON_DIR
  https://github.com/Tencent/rapidjson/archive/24b5e7a8b27f42fa16b96fc70aade9106cf7102f.tar.gz
  2d2601a82d2d3b7e143a3c8d43ef616671391034bc46891a9816b79cf2d3e7a8)
