#!/usr/bin/env bash
# libmlc-xnnpack.so with Debian 13's XNNPACK: built here against its headers, run in a chroot of Debian 13; then networks with
# the operators that it has since 2024, by Debian 13's loader and libraries.
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
mkdir -p "$dir/build/tests" "$dir/build/bin"
cp "$build"/tests/xnnpack_*_test "$dir/build/tests/"
cp "$build/bin/mlc-run" "$dir/build/bin/"
for m in proc sys dev; do mount --bind /$m "$dir/$m"; done
trap 'for m in proc sys dev; do umount -l "$dir/$m"; done' EXIT
for test in "$dir"/build/tests/xnnpack_*_test; do
  chroot "$dir" env MLC_XNNPACK=2024 "/build/tests/$(basename "$test")"
done
MLC_XNNPACK_ROOT=$dir /usr/bin/python3 tests/e2e/run.py --build "$build" --file test_xnnpack.py test_dynamic_products
