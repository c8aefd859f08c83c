# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#[[
oneDNN 2.6 or later, 3.x included. Gives the target DNNL::dnnl and the variables OneDNN_FOUND and OneDNN_VERSION.

Takes a target of the enclosing project first, then oneDNN's own CMake package, then header and library found by hand.
]]

set(OneDNN_VERSION "")
if(TARGET dnnl AND NOT TARGET DNNL::dnnl)
  add_library(DNNL::dnnl ALIAS dnnl)
endif()

if(NOT TARGET DNNL::dnnl)
  # The package of a oneDNN with OpenCL support (Debian's) stops the whole configuration where OpenCL's headers are
  # missing. No version is asked for: the package accepts only its own major version.
  find_package(OpenCL QUIET)
  if(OpenCL_FOUND OR dnnl_DIR)
    find_package(dnnl CONFIG QUIET)
  endif()
endif()

if(TARGET DNNL::dnnl AND NOT OneDNN_INCLUDE_DIR)
  set(OneDNN_LIBRARY DNNL::dnnl)
  set(OneDNN_VERSION "${dnnl_VERSION}")
  if(NOT OneDNN_VERSION)
    set(OneDNN_VERSION 2.6) # a target of the enclosing project tells no version; the headers will
  endif()
else()
  find_path(OneDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
  find_library(OneDNN_LIBRARY dnnl)
  mark_as_advanced(OneDNN_INCLUDE_DIR OneDNN_LIBRARY)
  set(_onednn_version_header "${OneDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h")
  if(OneDNN_LIBRARY AND EXISTS "${_onednn_version_header}")
    file(STRINGS "${_onednn_version_header}" OneDNN_VERSION REGEX "#define DNNL_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
    list(TRANSFORM OneDNN_VERSION REPLACE ".* ([0-9]+).*" "\\1")
    list(JOIN OneDNN_VERSION "." OneDNN_VERSION)
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  OneDNN
  REQUIRED_VARS OneDNN_LIBRARY
  VERSION_VAR OneDNN_VERSION
  REASON_FAILURE_MESSAGE
    "oneDNN 2.6 or later is needed: install libdnnl-dev (Debian, Ubuntu) or onednn, or add its prefix to CMAKE_PREFIX_PATH")

if(OneDNN_FOUND AND NOT TARGET DNNL::dnnl)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION "${OneDNN_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                                                    "${OneDNN_INCLUDE_DIR}")
endif()
