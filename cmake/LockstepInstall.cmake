# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# `cmake --install` lays out the headers and a package that find_package(lockstep) finds.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_folder "${CMAKE_INSTALL_DATADIR}/cmake/lockstep")

install(DIRECTORY include/lockstep DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT lockstep)
install(TARGETS lockstep EXPORT lockstep-targets)
install(
  EXPORT lockstep-targets
  NAMESPACE lockstep::
  DESTINATION "${package_folder}"
  COMPONENT lockstep)

configure_package_config_file(cmake/lockstep-config.cmake.in lockstep-config.cmake
                              INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file(lockstep-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(
  FILES "${PROJECT_BINARY_DIR}/lockstep-config.cmake" "${PROJECT_BINARY_DIR}/lockstep-config-version.cmake"
        cmake/FindCCCLHeaders.cmake cmake/FindCUDNN.cmake cmake/FindNCCL.cmake cmake/FindOneDNN.cmake
        cmake/FindRapidJSONHeaders.cmake cmake/LockstepCudaTarget.cmake
  DESTINATION "${package_folder}"
  COMPONENT lockstep)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT lockstep)
