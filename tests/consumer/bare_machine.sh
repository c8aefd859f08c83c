#!/usr/bin/env bash
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs and uses lockstep on a machine that has a compiler, CMake, oneDNN, RapidJSON and nothing else: a Debian 12
# that debootstrap makes in a folder. What a user does there is in bare_machine_user.sh.
#
#   bare_machine.sh SOURCE FOLDER CCCL
#
# SOURCE: this repository; FOLDER: where the machine is kept for the next run; CCCL: a folder of CCCL's headers.
# LOCKSTEP_DEBIAN_MIRROR names a mirror other than the one that apt uses here. Exit status 77: skipped.
# All mounts are made in a namespace that ends with the process that needs them.
set -euo pipefail

readonly source=$1 folder=$2 cccl=$3
readonly root=$folder/root packages=(g++ make cmake pkg-config libdnnl-dev rapidjson-dev)

skip() {
  echo "SKIPPED: $*"
  exit 77
}

seconds() { printf '%4d s  %s\n' "$1" "$2"; }

mirror() {
  local site
  # shellcheck disable=SC2016 # apt and awk expand these
  site=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null | awk '$2 == "bookworm" { print $1; exit }') || true
  echo "${LOCKSTEP_DEBIAN_MIRROR:-${site:-http://deb.debian.org/debian}}"
}

is_reachable() { wget --quiet --spider --tries=1 --timeout=10 "$1"; }

# Makes the machine in $root.
make_root() {
  local start=$SECONDS new=$folder/root.new log=$folder/root.txt
  is_reachable "$(mirror)/dists/bookworm/Release" || skip "the Debian mirror $(mirror) does not answer"
  rm -rf "$new"
  mkdir -p "$new/etc/dpkg/dpkg.cfg.d"
  # No manuals, and no wait for the disk after each file: half of the time.
  printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
    'path-exclude=/usr/share/locale/*' >"$new/etc/dpkg/dpkg.cfg.d/small"
  # shellcheck disable=SC2016 # the inner shell expands these
  unshare --mount --pid --fork --kill-child bash -euc '
    debootstrap --variant=minbase bookworm "$1" "$2"
    chroot "$1" apt-get -qq update
    chroot "$1" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${@:3}"
  ' make_root "$new" "$(mirror)" "${packages[@]}" >"$log" 2>&1 || {
    tail -n 20 "$log"
    echo "bare_machine.sh: the machine could not be made"
    exit 1
  }
  echo "${packages[*]}" >"$new/bare_machine"
  rm -rf "$root"
  mv "$new" "$root"
  seconds $((SECONDS - start)) "make the machine"
}

# enter FLAGS...: runs bare_machine_user.sh on the machine; FLAGS go to unshare.
enter() {
  # shellcheck disable=SC2016
  unshare --mount --pid --fork --kill-child "$@" bash -euc '
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
      chroot "$1" bash /home/lockstep/tests/consumer/bare_machine_user.sh "$2"
  ' enter "$root" "$stage"
}

((EUID == 0)) || skip "only root can make the machine"
command -v debootstrap >/dev/null || skip "debootstrap is not installed"
command -v wget >/dev/null || skip "wget is not installed"
unshare --mount --pid --net --fork true 2>/dev/null || skip "this system lets nobody make a namespace of mounts"

mkdir -p "$folder"
[[ ,$(findmnt --noheadings --output OPTIONS --target "$folder" || true), != *,no@(dev|exec),* ]] ||
  skip "$folder lies where no device or program is allowed"
[[ $(cat "$root/bare_machine" 2>/dev/null) == "${packages[*]}" ]] || make_root

# The sources, as a user unpacks them, and what CCCL is on this machine.
rm -rf "${root:?}"/{home,opt}
mkdir -p "$root/home/lockstep/tests" "$root/opt/cccl"
cp -r "$source"/{CMakeLists.txt,LICENSE,cmake,include} "$root/home/lockstep"
cp -r "$source/tests/consumer" "$root/home/lockstep/tests"
for part in cuda nv cub thrust; do
  [[ ! -d $cccl/$part ]] || cp -rL "$cccl/$part" "$root/opt/cccl"
done

stage=offline
enter --net

url=$(grep -o 'https://files.pythonhosted.org/[^ ]*' "$source/cmake/LockstepDependencies.cmake")
if is_reachable "$url"; then
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  mkdir -p "$root/etc/ssl/certs"
  if [[ -e /etc/ssl/certs/ca-certificates.crt ]]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs"
  fi
  stage=online
  enter
else
  echo "not tested, for PyPI does not answer: CCCL fetched by CMake"
fi
seconds $SECONDS "altogether"
