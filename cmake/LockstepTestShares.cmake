# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Which tests meet which sanitizer. `./dev test` builds the shares `plain`, `sanitized` and `threads`, each test in one of
# them, but for the few named below that say something else without a sanitizer.
# The test `shares_of_tests` (check_test_shares.cmake) shows that no test is lost.
#
# A test is named by its folder and its source, such as nn/linear; the lists hold regular expressions of whole names.

set(LOCKSTEP_TEST_SHARE all CACHE STRING
    "The tests that are built: all; threads, for the thread sanitizer; sanitized, for the address sanitizer; plain, the others")
set_property(CACHE LOCKSTEP_TEST_SHARE PROPERTY STRINGS all plain sanitized threads)

# Under no sanitizer.
set(lockstep_plain_tests
    # They replace the functions that allocate, as the sanitizer does.
    "(comm|data|parallel)/allocations"
    # They compute for minutes there, by code that other tests run too.
    "golden/.*"
    "generate/.*"
    "inference/.*"
    "models/.*"
    # They run programs that are not sanitized.
    "train/.*"
    "docs/.*"
    # It would see in them what it sees in others.
    "data/augment_erasing"
    "model/executor"
    "nn/activation.*"
    "nn/attention"
    "nn/(batch_norm|composites|sequential)"
    "nn/recurrent"
    "nn/(conv_transpose2d|inputs|linear|resampling|sample_norm|several_outputs|signals|skippable|softmax)"
    "nn/loss(es)?"
    "parallel/(dropout2d|losses|row_targets|sample_norm|skip_composites|unet)"
    "parallel/reproducible_.*")

# Under a sanitizer, and without.
set(lockstep_plain_and_sanitized_tests
    # They test what optimising makes of loops.
    "backend/.*"
    # One of the two compilers may lack _Float16.
    "core/half"
    # Some of their cases need that nothing else replaces functions of the C library, or are less under a sanitizer.
    "comm/powersgd"
    "data/walk"
    "model/changing_batches"
    "parallel/(bucket|random_runs)"
    "thread_limit/.*")

# Under the thread sanitizer are these folders, without the tests below.
set(lockstep_folders_with_threads comm parallel data)
set(lockstep_tests_without_threads
    "(comm|data|parallel)/allocations"
    "data/augment_(erasing|mixup|stream|transforms)"
    "data/(cifar10|cifar100|dataset|gzip|idx|normalisation|open|random_split|stratified_places|synthetic|table)"
    "data/text_documents" "data/text_merges" "data/text_tokenizer"
    "data/sampler(_(distributed|edges|stratified))?"
    "parallel/(averaged|batch_norm_rows|clip_non_finite|converted|dropout2d|frozen|gather_into|graph|groups|losses)"
    "parallel/(optimizers|parameters|precision|ranges|row_targets|sample_norm|scatter|shard|state_steps|unet)"
    "parallel/(reproducible_|skip_|step_).*"
    "parallel/attention"
    "parallel/recurrent"
    "parallel/split.*"
    # clang's knows nothing of a parent's threads in a forked child, where they are detached.
    "data/fork"
    "parallel/fork")

# lockstep_tests_of_share(RESULT SHARE NAMES...): sets RESULT to the names that belong to the share.
function(lockstep_tests_of_share result share)
  set(names ${ARGN})
  set(with_threads ${names})
  list(JOIN lockstep_plain_tests "|" plain)
  list(JOIN lockstep_plain_and_sanitized_tests "|" both)
  list(JOIN lockstep_folders_with_threads "|" folders_with_threads)
  list(JOIN lockstep_tests_without_threads "|" without_threads)
  list(FILTER with_threads INCLUDE REGEX "^(${folders_with_threads})/")
  list(FILTER with_threads EXCLUDE REGEX "^(${without_threads})$")
  if(share STREQUAL "plain")
    list(FILTER names INCLUDE REGEX "^(${plain}|${both})$")
  elseif(share STREQUAL "sanitized")
    list(FILTER names EXCLUDE REGEX "^(${plain})$")
    list(REMOVE_ITEM names ${with_threads})
  elseif(share STREQUAL "threads")
    set(names ${with_threads})
  elseif(NOT share STREQUAL "all")
    message(FATAL_ERROR "LOCKSTEP_TEST_SHARE is all, plain, sanitized or threads, not '${share}'")
  endif()
  set(${result} "${names}" PARENT_SCOPE)
endfunction()
