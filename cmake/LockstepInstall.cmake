# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# `cmake --install` lays out the headers, a package that find_package(lockstep) finds, and lockstep.pc for pkg-config.
# Nothing that is installed names a folder of the machine that installs it: a prefix may be moved.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_folder "${CMAKE_INSTALL_DATADIR}/cmake/lockstep")
set(pkgconfig_folder "${CMAKE_INSTALL_DATADIR}/pkgconfig")
set(lockstep_deps_dir "${CMAKE_INSTALL_INCLUDEDIR}/lockstep-deps")

install(DIRECTORY include/lockstep DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT lockstep)
install(TARGETS lockstep EXPORT lockstep-targets)
install(
  EXPORT lockstep-targets
  NAMESPACE lockstep::
  DESTINATION "${package_folder}"
  COMPONENT lockstep)

configure_package_config_file(
  cmake/lockstep-config.cmake.in lockstep-config.cmake
  INSTALL_DESTINATION "${package_folder}"
  PATH_VARS lockstep_deps_dir)
write_basic_package_version_file(lockstep-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(
  FILES "${PROJECT_BINARY_DIR}/lockstep-config.cmake" "${PROJECT_BINARY_DIR}/lockstep-config-version.cmake"
        cmake/FindCCCLHeaders.cmake cmake/FindCUDNN.cmake cmake/FindNCCL.cmake cmake/FindOneDNN.cmake
        cmake/FindRapidJSONHeaders.cmake cmake/LockstepCudaTarget.cmake
  DESTINATION "${package_folder}"
  COMPONENT lockstep)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT lockstep)

# lockstep_install_headers(TARGET SUBFOLDER PARTS...): those of the folders PARTS that TARGET's include folders have.
function(lockstep_install_headers target subfolder)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  foreach(folder IN LISTS folders)
    foreach(part IN LISTS ARGN)
      if(IS_DIRECTORY "${folder}/${part}")
        file(REAL_PATH "${folder}/${part}" source)
        install(DIRECTORY "${source}/" DESTINATION "${lockstep_deps_dir}/${subfolder}/${part}" COMPONENT lockstep)
      endif()
    endforeach()
  endforeach()
endfunction()

set(lockstep_pc_deps "")
if(LOCKSTEP_INSTALL_DEPENDENCIES)
  lockstep_install_headers(CCCLHeaders::CCCLHeaders cccl cuda nv cub thrust)
  lockstep_install_headers(RapidJSONHeaders::RapidJSONHeaders rapidjson rapidjson)
  set(lockstep_pc_deps "-isystem \${includedir}/lockstep-deps/cccl -isystem \${includedir}/lockstep-deps/rapidjson")
endif()

# pkg-config is for the CPU backend.
if(OneDNN_FOUND)
  cmake_path(
    RELATIVE_PATH
    CMAKE_INSTALL_FULL_INCLUDEDIR
    BASE_DIRECTORY
    "${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig"
    OUTPUT_VARIABLE
    lockstep_pc_includedir)
  configure_file(cmake/lockstep.pc.in lockstep.pc @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/lockstep.pc" DESTINATION "${pkgconfig_folder}" COMPONENT lockstep)
endif()
