#!/usr/bin/env bash
# libmlc-xnnpack.so with Debian 13's XNNPACK: built here against its headers, run in a chroot of Debian 13.
#   tests/xnnpack-newer.sh DIR [BUILD]      root; DIR is created (300 MB) and kept; BUILD: a built tree (default: build)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { sed -n '3s/^# *//p' "$0" >&2; exit 2; }
dir=$(realpath -m "$1") build=${2:-build}
if [ ! -e "$dir/usr/include/xnnpack.h" ]; then
  command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
  debootstrap --variant=minbase --include=libxnnpack-dev,libpthreadpool-dev,libstdc++6 trixie "$dir" >&2
fi
cmake --fresh --preset release -B "$dir/build" -DXNNPACK_ROOT="$dir/usr" >&2
cmake --build "$dir/build" --target mlc_xnnpack >&2
mkdir -p "$dir/build/tests"
cp "$build"/tests/xnnpack_*_test "$dir/build/tests/"
for m in proc sys dev; do mount --bind /$m "$dir/$m"; done
trap 'for m in proc sys dev; do umount -l "$dir/$m"; done' EXIT
for test in "$dir"/build/tests/xnnpack_*_test; do
  chroot "$dir" "/build/tests/$(basename "$test")"
done
