#!/usr/bin/env bash
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The newest CMake 4 configures lockstep and the projects of its users, and has nothing to warn of.
#
#   newest_cmake.sh SOURCE FOLDER CCCL
#
# SOURCE: this repository; FOLDER: where the CMake of PyPI is kept and projects are built; CCCL: a folder of its headers.
# Exit status 77: skipped.
set -euo pipefail

readonly source=$1 folder=$2 cccl=$3
readonly cmake=$folder/venv/bin/cmake

skip() {
  echo "SKIPPED: $*"
  exit 77
}

# Configures, and fails when CMake says a word that is not a status.
configure() { # WHAT ARGUMENTS...
  rm -rf "$folder/build"
  echo "== $1"
  "$cmake" -B "$folder/build" "${@:2}" >"$folder/log.txt" 2>&1 || {
    cat "$folder/log.txt"
    exit 1
  }
  if grep -v '^--' "$folder/log.txt"; then
    echo "newest_cmake.sh: CMake warns of the above ($1)"
    exit 1
  fi
}

mkdir -p "$folder"
if ! "$cmake" --version >/dev/null 2>&1; then
  python3 -m venv "$folder/venv" >/dev/null 2>&1 || skip "python3 makes no virtual environment (python3-venv)"
  "$folder/venv/bin/python" -m pip install --quiet --retries 1 'cmake>=4,<5' || skip "no CMake 4 comes from PyPI"
fi
"$cmake" --version | head -n 1

configure "lockstep" -S "$source" "-DLOCKSTEP_CCCL_DIR=$cccl"
"$cmake" --install "$folder/build" --prefix "$folder/prefix" >/dev/null
prefix=-DCMAKE_PREFIX_PATH=$folder/prefix
sources=("-DLOCKSTEP_SOURCE_DIR=$source" "-DLOCKSTEP_CCCL_DIR=$cccl")
consumer=$source/tests/consumer
configure "find_package" -S "$consumer" -DLOCKSTEP_FROM=find_package "$prefix"
configure "add_subdirectory" -S "$consumer" -DLOCKSTEP_FROM=add_subdirectory "${sources[@]}"
configure "FetchContent" -S "$consumer" -DLOCKSTEP_FROM=FetchContent "${sources[@]}"
configure "found in several parts" -S "$consumer/parts" '-DLOCKSTEP_ORDER=add;find' "$prefix" "${sources[@]}"
