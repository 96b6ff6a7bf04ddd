#!/usr/bin/env bash
# XNNPACK for devices: Debian's libraries of other architectures into build-xnnpack/TRIPLE, where CMake finds them
# (about 1 MB each). Debian's packages of two architectures cannot be installed side by side, so they are unpacked.
#   toolchains/xnnpack.sh [TRIPLE...]      default: aarch64-linux-gnu arm-linux-gnueabihf
# MLC_NO_PACKAGES=1 leaves the machine as it is. Needs apt, and does nothing for what is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -z "${MLC_NO_PACKAGES:-}" ] || exit 0
[ $# -gt 0 ] || set -- aarch64-linux-gnu arm-linux-gnueabihf
packages=(libxnnpack0 libcpuinfo0 libpthreadpool0)

for triple in "$@"; do
  case $triple in
    aarch64-linux-gnu) architecture=arm64 ;;
    arm-linux-gnueabihf) architecture=armhf ;;
    *)
      echo "usage: toolchains/xnnpack.sh [aarch64-linux-gnu] [arm-linux-gnueabihf]" >&2
      exit 2
      ;;
  esac
  [ ! -e "build-xnnpack/$triple/usr/lib/$triple/libXNNPACK.so.0" ] || continue
  echo "xnnpack.sh: fetching ${packages[*]} for $architecture" >&2
  partial=build-xnnpack/$triple.partial
  rm -rf "$partial"
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "$partial"/{state/lists/partial,cache/archives/partial,root}
  root=$(pwd)/$partial
  # apt with lists and a status of its own: this machine's are not changed, signatures are checked as ever.
  apt=(apt-get -q -o Acquire::Retries=3 -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
    -o "Dir::State=$root/state" -o Dir::State::status=/dev/null -o "Dir::Cache=$root/cache" -o APT::Sandbox::User=root
    -o Acquire::Languages=none)
  # A list that is out of step on a mirror may be one that is not needed: what is missing, download says.
  "${apt[@]}" update >&2 || true
  (cd "$partial/cache" && "${apt[@]}" download "${packages[@]}" >&2)
  for package in "$partial"/cache/*.deb; do
    dpkg-deb -x "$package" "$partial/root"
  done
  rm -rf "build-xnnpack/$triple"
  mv "$partial/root" "build-xnnpack/$triple"
  rm -rf "$partial"
done
