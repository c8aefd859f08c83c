# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Lists of headers, for the checks. Usable from a project and from `cmake -P`.

# Headers that need more than the CPU library (CUDA, NCCL, MPI, zlib) and so are not in lockstep.hpp; and the one that stands in
# for another, with which it cannot be read.
set(LOCKSTEP_OPTIONAL_HEADERS "^lockstep/(cuda|mpi)\\.hpp$" "^lockstep/backend/cuda/" "^lockstep/comm/(nccl|mpi)"
                              "^lockstep/backend/cpu/no_cpu\\.hpp$" "^lockstep/data/gzip\\.hpp$")

# Headers of the CPU library that lockstep.hpp leaves to those who ask for them.
set(LOCKSTEP_SEPARATE_HEADERS
    "^lockstep/lockstep\\.hpp$" "^lockstep/backend/reference/"
    "^lockstep/cpu_bf16\\.hpp$" "^lockstep/backend/cpu/bf16/"
    "^lockstep/generate/" "^lockstep/inference(\\.hpp$|/)"
    "^lockstep/parallel/(predictor\\.hpp|serve/)"
    "^lockstep/io/checkpoint(s|_folder)\\.hpp$"
    "^lockstep/data/sampler(_distributed|_stratified|_weighted)?\\.hpp$"
    "^lockstep/data/(augment|cifar100|gpt2_tokenizer|normalisation|one_hot|random_split|stream|stream_source|text)\\.hpp$"
    "^lockstep/data/(augment|text)/"
    "^lockstep/comm/(low_rank|powersgd|simulated_link|thread_group|threads)\\.hpp$"
    "^lockstep/observe/(divergence|gpu_monitor|plan_drawing|plan_layout|plan_svg|report|report_data|run_origin|summary|svg|svg_style|svg_text|trace)\\.hpp$")

# Sets `result` to the headers under `include_folder`, as they are spelt in #include, sorted, less those that match one
# of the patterns given after it.
function(lockstep_list_headers include_folder result)
  set(watch CONFIGURE_DEPENDS)
  if(CMAKE_SCRIPT_MODE_FILE)
    unset(watch) # a script has nothing to configure again
  endif()
  file(GLOB_RECURSE headers RELATIVE "${include_folder}" ${watch} "${include_folder}/lockstep/*.hpp")
  foreach(pattern IN LISTS ARGN)
    list(FILTER headers EXCLUDE REGEX "${pattern}")
  endforeach()
  list(SORT headers)
  set(${result} "${headers}" PARENT_SCOPE)
endfunction()

# Sets `result` to the headers under `include_folder` that include `target`, or a header that does, as they are spelt in
# #include.
function(lockstep_list_reaching include_folder target result)
  lockstep_list_headers("${include_folder}" waiting)
  foreach(header IN LISTS waiting)
    file(STRINGS "${include_folder}/${header}" lines REGEX "^#include <")
    list(TRANSFORM lines REPLACE "^#include <([^>]+)>.*" "\\1")
    set("includes_of_${header}" "${lines}")
  endforeach()

  set(found "")
  set(latest "${target}")
  while(latest)
    set(next "")
    foreach(header IN LISTS waiting)
      foreach(include IN LISTS "includes_of_${header}")
        if(include IN_LIST latest)
          list(APPEND next "${header}")
          break()
        endif()
      endforeach()
    endforeach()
    list(APPEND found ${next})
    if(next)
      list(REMOVE_ITEM waiting ${next})
    endif()
    set(latest "${next}")
  endwhile()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()
