# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#[[
The headers of CCCL 3.0 or later (libcu++, Thrust, CUB), which work with any C++ compiler; no CUDA compiler is needed.

Gives the target CCCLHeaders::CCCLHeaders and the variables CCCLHeaders_FOUND, CCCLHeaders_VERSION and
CCCLHeaders_INCLUDE_DIR. Where LOCKSTEP_CCCL_DIR is set, only that folder is searched: a checkout, an unpacked wheel
`nvidia-cuda-cccl`, a toolkit, or the include folder itself. Else looks, in this order, in
  a CUDA toolkit      CUDAToolkit_ROOT, CUDA_PATH, CUDA_HOME, the nvcc on PATH, /usr/local/cuda
  CMake's prefixes    where CCCL is installed by itself
  its CMake package   find_package(CCCL CONFIG)
  lockstep_deps_dir   what an installed lockstep carries along
A copy older than 3.0 is passed over.
]]

set(_cccl_subfolders
    include/cccl
    nvidia/cu13/include/cccl # the wheel
    targets/x86_64-linux/include/cccl
    targets/sbsa-linux/include/cccl
    libcudacxx/include # a checkout
    cccl
    include)

# CCCL's version, written there as 3000002 for 3.0.2; empty when the folder holds no CCCL.
function(_cccl_read_version folder result)
  set(number "")
  if(EXISTS "${folder}/cuda/std/__cccl/version.h" AND EXISTS "${folder}/cuda/std/mdspan")
    file(STRINGS "${folder}/cuda/std/__cccl/version.h" number REGEX "#define +CCCL_VERSION +[0-9]+")
    string(REGEX REPLACE ".*CCCL_VERSION +([0-9]+).*" "\\1" number "${number}")
  endif()
  if(number)
    math(EXPR major "${number} / 1000000")
    math(EXPR minor "${number} / 1000 % 1000")
    math(EXPR patch "${number} % 1000")
    set(number "${major}.${minor}.${patch}")
  endif()
  set(${result} "${number}" PARENT_SCOPE)
endfunction()

function(_cccl_accept folder_ok folder)
  _cccl_read_version("${folder}" version)
  if(NOT version OR version VERSION_LESS 3.0)
    set(${folder_ok} FALSE PARENT_SCOPE)
  endif()
endfunction()

# What was found is looked for again when it has gone, and when it lies outside the folder that is asked for.
if(CCCLHeaders_INCLUDE_DIR)
  set(_cccl_asked "${LOCKSTEP_CCCL_DIR}")
  cmake_path(IS_PREFIX _cccl_asked "${CCCLHeaders_INCLUDE_DIR}" NORMALIZE _cccl_as_asked)
  if(NOT EXISTS "${CCCLHeaders_INCLUDE_DIR}/cuda/std/mdspan" OR (LOCKSTEP_CCCL_DIR AND NOT _cccl_as_asked))
    unset(CCCLHeaders_INCLUDE_DIR CACHE)
  endif()
endif()

if(LOCKSTEP_CCCL_DIR)
  set(_cccl_hint "LOCKSTEP_CCCL_DIR, ${LOCKSTEP_CCCL_DIR}, holds no CCCL 3.0 or later")
  find_path(
    CCCLHeaders_INCLUDE_DIR cuda/std/mdspan
    PATHS "${LOCKSTEP_CCCL_DIR}"
    PATH_SUFFIXES ${_cccl_subfolders}
    VALIDATOR _cccl_accept
    NO_DEFAULT_PATH)
else()
  set(_cccl_hint "CCCL 3.0 or later is needed (headers only)")
  find_program(_cccl_nvcc nvcc)
  mark_as_advanced(_cccl_nvcc)
  if(_cccl_nvcc)
    file(REAL_PATH "${_cccl_nvcc}" _cccl_nvcc_root)
    cmake_path(GET _cccl_nvcc_root PARENT_PATH _cccl_nvcc_root)
    cmake_path(GET _cccl_nvcc_root PARENT_PATH _cccl_nvcc_root)
  endif()
  find_path(
    CCCLHeaders_INCLUDE_DIR cuda/std/mdspan
    HINTS "${CUDAToolkit_ROOT}" ENV CUDAToolkit_ROOT ENV CUDA_PATH ENV CUDA_HOME "${_cccl_nvcc_root}"
    PATHS /usr/local/cuda /opt/cuda
    PATH_SUFFIXES ${_cccl_subfolders}
    VALIDATOR _cccl_accept)

  if(NOT CCCLHeaders_INCLUDE_DIR)
    find_package(CCCL 3.0 CONFIG QUIET COMPONENTS libcudacxx)
    if(TARGET libcudacxx::libcudacxx)
      get_target_property(_cccl_folders libcudacxx::libcudacxx INTERFACE_INCLUDE_DIRECTORIES)
      find_path(
        CCCLHeaders_INCLUDE_DIR cuda/std/mdspan
        PATHS ${_cccl_folders}
        VALIDATOR _cccl_accept
        NO_DEFAULT_PATH)
    endif()
  endif()
  if(NOT CCCLHeaders_INCLUDE_DIR AND lockstep_deps_dir)
    find_path(
      CCCLHeaders_INCLUDE_DIR cuda/std/mdspan
      PATHS "${lockstep_deps_dir}/cccl"
      VALIDATOR _cccl_accept
      NO_DEFAULT_PATH)
  endif()
endif()
mark_as_advanced(CCCLHeaders_INCLUDE_DIR)

if(CCCLHeaders_INCLUDE_DIR)
  _cccl_read_version("${CCCLHeaders_INCLUDE_DIR}" CCCLHeaders_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  CCCLHeaders
  REQUIRED_VARS CCCLHeaders_INCLUDE_DIR
  VERSION_VAR CCCLHeaders_VERSION
  REASON_FAILURE_MESSAGE
    "${_cccl_hint}: set LOCKSTEP_CCCL_DIR to a CUDA toolkit, a checkout of CCCL or an unpacked wheel nvidia-cuda-cccl"
)

if(CCCLHeaders_FOUND AND NOT TARGET CCCLHeaders::CCCLHeaders)
  add_library(CCCLHeaders::CCCLHeaders INTERFACE IMPORTED)
  set(_cccl_folders "${CCCLHeaders_INCLUDE_DIR}")
  if(CCCLHeaders_INCLUDE_DIR MATCHES "/libcudacxx/include$") # a checkout keeps the three libraries apart
    cmake_path(SET _cccl_root NORMALIZE "${CCCLHeaders_INCLUDE_DIR}/../..")
    list(APPEND _cccl_folders "${_cccl_root}/cub" "${_cccl_root}/thrust")
  endif()
  target_include_directories(CCCLHeaders::CCCLHeaders SYSTEM INTERFACE ${_cccl_folders})
endif()
