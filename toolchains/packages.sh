#!/usr/bin/env bash
# The one list of Debian 12 packages, and their installation where one is missing; with all, nvcc too (cuda.sh). Works as root or with sudo, and takes
# well under a second when nothing is missing.
#   toolchains/packages.sh [all|runtime|device] [--list]
#     all      (default) compiler, runtime, tests, and what devices need
#     runtime  what a build with MLC_BUILD_COMPILER=OFF and MLC_BUILD_TESTS=OFF needs, with clang or gcc
#     device   what the presets device-* need on an x86-64 host
#     --list   prints the names and installs nothing
# MLC_NO_PACKAGES=1 leaves the machine as it is (a container image that has everything already).
set -euo pipefail
export LC_ALL=C

runtime=(cmake ninja-build clang-19 lld-19 g++ flatbuffers-compiler libflatbuffers-dev libxxhash-dev libboost1.81-dev
  nlohmann-json3-dev libxnnpack-dev libpthreadpool-dev)
compiler=(libmlir-19-dev mlir-19-tools llvm-19-dev llvm-19-tools liblld-19-dev zlib1g-dev libzstd-dev
  libcli11-dev libutf8proc-dev ccache protobuf-compiler libprotobuf-dev libonnx-dev)
tests=(libclang-rt-19-dev clang-format-19 libgtest-dev libgmock-dev libbenchmark-dev libpcre2-dev
  python3 python3-numpy python3-venv git qemu-user nginx-light chromium)
# Headers and libraries of the devices' C and C++ libraries; clang 19 and lld build for all of them.
device=(libstdc++-12-dev-arm64-cross libstdc++-12-dev-armhf-cross)

what=all list=
for argument in "$@"; do
  case $argument in
    all | runtime | device) what=$argument ;;
    --list) list=1 ;;
    *)
      echo "usage: toolchains/packages.sh [all|runtime|device] [--list]" >&2
      exit 2
      ;;
  esac
done

packages=("${runtime[@]}")
[ "$what" = runtime ] || packages+=("${device[@]}")
[ "$what" != all ] || packages+=("${compiler[@]}" "${tests[@]}")
if [ -n "$list" ]; then
  printf '%s\n' "${packages[@]}"
  exit
fi
[ -z "${MLC_NO_PACKAGES:-}" ] || exit 0

if ! command -v dpkg-query >/dev/null; then
  echo "packages.sh: this is no Debian; install the equivalents of: ${packages[*]}" >&2
  exit 1
fi
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
missing=()
for package in "${packages[@]}"; do
  grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
# Devices' XNNPACK, and nvcc, which is not Debian's: without them libmlc-xnnpack.so of devices and --target cuda are left out.
extras() {
  [ "$what" = runtime ] || "$(dirname "${BASH_SOURCE[0]}")/xnnpack.sh" ||
    echo "packages.sh: XNNPACK for devices could not be fetched: their libmlc-xnnpack.so is left out" >&2
  [ "$what" != all ] || "$(dirname "${BASH_SOURCE[0]}")/cuda.sh" ||
    echo "packages.sh: nvcc could not be installed: CUDA kernels are left out" >&2
}
if [ ${#missing[@]} -eq 0 ]; then
  extras
  exit
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "packages.sh: run as root, or install sudo; missing: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "packages.sh: installing ${missing[*]}" >&2
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
"${apt[@]}" update >&2
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
extras
