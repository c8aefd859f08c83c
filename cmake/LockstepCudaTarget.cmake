# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What a program with the CUDA backend links and is compiled with. Used by the project, and by its installed package.
# Needs no CUDA compiler by itself; whoever compiles a .cu file enables the language.

find_package(CUDAToolkit 13.0 QUIET)
if(CUDAToolkit_FOUND)
  find_package(CUDNN 9.0 QUIET)
  find_package(NCCL 2.20 QUIET)
endif()

# To be called when CUDAToolkit_FOUND.
function(lockstep_add_cuda_requirements target)
  target_link_libraries(${target} INTERFACE lockstep::lockstep CUDA::cudart CUDA::cublasLt)
  if(TARGET CUDNN::cudnn)
    target_link_libraries(${target} INTERFACE CUDNN::cudnn)
  else()
    target_compile_definitions(${target} INTERFACE LOCKSTEP_WITHOUT_CUDNN)
  endif()
  if(TARGET NCCL::nccl)
    target_link_libraries(${target} INTERFACE NCCL::nccl)
  else()
    target_compile_definitions(${target} INTERFACE LOCKSTEP_WITHOUT_NCCL)
  endif()
  # Kernels call constexpr functions of the core. CMake before 3.26 does not know C++20 of nvcc 13.
  target_compile_options(${target} INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>
                                             $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
endfunction()
