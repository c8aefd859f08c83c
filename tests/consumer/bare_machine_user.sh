#!/usr/bin/env bash
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What a user does on the machine that bare_machine.sh has made, where lockstep's sources lie in /home/lockstep.
#
#   bare_machine_user.sh offline   with CCCL's headers in /opt/cccl, and later only with the copy that was installed along
#   bare_machine_user.sh online    without CCCL: CMake fetches it
set -euo pipefail

readonly lockstep=/home/lockstep work=/home/$1
readonly main=$lockstep/tests/consumer/main.cpp

# stage WHAT COMMAND...: runs it in a folder of its own, and prints how long it took.
stage() {
  local start=$SECONDS folder=$work/${1//[^a-z]/_}
  mkdir -p "$folder"
  cd "$folder"
  "${@:2}" >log.txt 2>&1 || {
    tail -n 40 log.txt
    echo "bare_machine_user.sh: failed: $1"
    exit 1
  }
  if grep -i warning log.txt; then
    echo "bare_machine_user.sh: a warning: $1"
    exit 1
  fi
  printf '%4d s  %s\n' $((SECONDS - start)) "$1"
}

# As docs/install.md says.
build_and_install() {
  cmake -S $lockstep -B b -Werror=dev "${@:2}"
  cmake --install b --prefix "$1"
}

project() { # CMAKE-FLAGS...
  cmake -S $lockstep/tests/consumer -B b -Werror=dev "$@"
  cmake --build b
  ./b/consumer
}

pkg_config() { # PREFIX
  local flags
  flags=$(PKG_CONFIG_PATH=$1/share/pkgconfig pkg-config --cflags --libs 'lockstep >= 0.1')
  # shellcheck disable=SC2086 # a list of flags
  g++ -std=c++20 "$main" $flags -o consumer
  ./consumer
}

plain() { # CCCL
  g++ -std=c++20 -I $lockstep/include -isystem "$1" "$main" -ldnnl -pthread -o consumer
  ./consumer
}

# CMake stops, and says what to do.
refuse() { # EXPECTED CMAKE-FLAGS...
  if cmake -B b "${@:2}" >refused.txt 2>&1; then
    echo "CMake went on"
    return 1
  fi
  # CMake breaks lines.
  tr -s ' \n' ' ' <refused.txt | grep -q -- "$1" || {
    cat refused.txt
    return 1
  }
}

# The package names no folder of the machine that installed it.
names_no_folder() { # PREFIX FOLDERS...
  local folder
  for folder in "${@:2}"; do
    if grep -rF "$folder" "$1/share"; then return 1; fi
  done
}

offline() {
  local copy=/srv/moved/include/lockstep-deps/cccl consumer=$lockstep/tests/consumer
  stage "install, CCCL in LOCKSTEP_CCCL_DIR" build_and_install /srv/first -DLOCKSTEP_CCCL_DIR=/opt/cccl
  stage "the package names no folder" names_no_folder /srv/first /opt/cccl /srv $lockstep
  stage "install without a copy of CCCL" build_and_install /srv/small -DLOCKSTEP_CCCL_DIR=/opt/cccl \
    -DLOCKSTEP_INSTALL_DEPENDENCIES=OFF
  # The rest has the installed prefixes only, the first of which has moved.
  rm -rf /srv/moved
  mv /srv/first /srv/moved
  rm -rf /opt/cccl
  stage "refuse without CCCL" refuse "set LOCKSTEP_CCCL_DIR to" -S $lockstep -DLOCKSTEP_FETCH_DEPENDENCIES=OFF
  stage "refuse without a network" refuse "could not be downloaded .*set LOCKSTEP_CCCL_DIR to a folder" -S $lockstep
  stage "refuse a folder without CCCL" refuse "LOCKSTEP_CCCL_DIR, /opt, holds no CCCL" -S $lockstep \
    -DLOCKSTEP_CCCL_DIR=/opt
  stage "refuse a package without CCCL" refuse "set LOCKSTEP_CCCL_DIR to" -S "$consumer" \
    -DLOCKSTEP_FROM=find_package -DCMAKE_PREFIX_PATH=/srv/small
  stage "find_package" project -DLOCKSTEP_FROM=find_package -DCMAKE_PREFIX_PATH=/srv/moved
  stage "add_subdirectory" project -DLOCKSTEP_FROM=add_subdirectory -DLOCKSTEP_SOURCE_DIR=$lockstep \
    -DLOCKSTEP_CCCL_DIR=$copy
  stage "FetchContent" project -DLOCKSTEP_FROM=FetchContent -DLOCKSTEP_SOURCE_DIR=$lockstep -DLOCKSTEP_CCCL_DIR=$copy
  stage "pkg-config" pkg_config /srv/moved
  stage "g++" plain $copy
}

online() {
  stage "install, CCCL fetched" build_and_install /srv/fetched
  stage "find_package, CCCL fetched" project -DLOCKSTEP_FROM=find_package -DCMAKE_PREFIX_PATH=/srv/fetched
}

[[ -e /bare_machine ]] || {
  echo "bare_machine_user.sh: this removes folders; it runs on the machine that bare_machine.sh makes, and nowhere else" >&2
  exit 1
}
rm -rf "$work"
"$1"
