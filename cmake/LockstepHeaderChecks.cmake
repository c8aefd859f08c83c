# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every header compiles alone, compiles when included twice, survives macros that other libraries define, and may be
# included by two translation units of one program. Also: the umbrella is complete, and config.hpp comes first.

include(LockstepHeaders)
lockstep_list_headers("${PROJECT_SOURCE_DIR}/include" headers ${LOCKSTEP_OPTIONAL_HEADERS})

# Most of a check's time goes to CCCL's mdspan, which most headers reach: these find it precompiled.
lockstep_list_reaching("${PROJECT_SOURCE_DIR}/include" "cuda/std/mdspan" headers_with_mdspan)

set(folder "${PROJECT_BINARY_DIR}/header_checks")
set(sources "")
set(sources_with_mdspan "")
set(all_includes "")
foreach(header IN LISTS headers)
  string(MAKE_C_IDENTIFIER "${header}" name)
  # <complex.h> defines I, windows.h defines small, near and far.
  file(CONFIGURE OUTPUT "${folder}/${name}.cpp" CONTENT "#define I 1.0if\n#define small char\n#define near\n#define far\n\
#include <@header@>\n#include <@header@>  // NOLINT(readability-duplicate-include): the guard is what is tested\n" @ONLY)
  if(header IN_LIST headers_with_mdspan)
    list(APPEND sources_with_mdspan "${folder}/${name}.cpp")
  else()
    list(APPEND sources "${folder}/${name}.cpp")
  endif()
  string(APPEND all_includes "#include <${header}>\n")
endforeach()
file(CONFIGURE OUTPUT "${folder}/main.cpp" CONTENT "@all_includes@\nint main() {}\n" @ONLY)

add_library(header_checks OBJECT ${sources})
add_library(header_checks_with_mdspan OBJECT ${sources_with_mdspan})
target_precompile_headers(header_checks_with_mdspan PRIVATE <cuda/std/mdspan>)
foreach(target IN ITEMS header_checks header_checks_with_mdspan)
  target_compile_options(${target} PRIVATE -O0)
  target_link_libraries(${target} PRIVATE lockstep::lockstep lockstep_warnings)
endforeach()

# A function or variable that lacks `inline` is defined both in its header's own object and in main's.
add_executable(header_checks_linked "${folder}/main.cpp")
target_compile_options(header_checks_linked PRIVATE -O0)
target_link_libraries(header_checks_linked PRIVATE header_checks header_checks_with_mdspan lockstep::lockstep
                                                    lockstep_warnings)

add_test(NAME links_of_pages COMMAND "${CMAKE_COMMAND}" -D "ROOT=${PROJECT_SOURCE_DIR}" -P
                                 "${PROJECT_SOURCE_DIR}/cmake/check_links.cmake")
add_test(NAME options_are_documented COMMAND "${CMAKE_COMMAND}" -D "ROOT=${PROJECT_SOURCE_DIR}" -P
                                             "${PROJECT_SOURCE_DIR}/cmake/check_options.cmake")
add_test(NAME umbrella_is_complete COMMAND "${CMAKE_COMMAND}" -D "INCLUDE_FOLDER=${PROJECT_SOURCE_DIR}/include" -P
                                           "${PROJECT_SOURCE_DIR}/cmake/check_umbrella.cmake")
add_test(NAME includes_point_down COMMAND "${CMAKE_COMMAND}" -D "INCLUDE_FOLDER=${PROJECT_SOURCE_DIR}/include" -P
                                          "${PROJECT_SOURCE_DIR}/cmake/check_arrows.cmake")
add_test(NAME config_comes_first COMMAND "${CMAKE_COMMAND}" -D "INCLUDE_FOLDER=${PROJECT_SOURCE_DIR}/include" -P
                                         "${PROJECT_SOURCE_DIR}/cmake/check_config_first.cmake")
add_test(NAME tiles_follow_sizes COMMAND "${CMAKE_COMMAND}" -D "INCLUDE_FOLDER=${PROJECT_SOURCE_DIR}/include" -P
                                         "${PROJECT_SOURCE_DIR}/cmake/check_cub.cmake")

include(LockstepCompilerChecks)
