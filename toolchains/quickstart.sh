#!/usr/bin/env bash
# From a fresh Debian 12 to generated text: installs what is needed, builds, compiles a shipped model and runs it.
# Works as root or with sudo; can be run again cheaply. Without a PROMPT it goes on with one in English, one in Hindi.
#   toolchains/quickstart.sh [PROMPT]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -gt 0 ] || set -- 'The city of' 'भारत में'

toolchains/packages.sh
# A fresh tree compiles several sources at a time, which takes half as long.
unity=()
[ -e build/CMakeCache.txt ] || unity=(-DCMAKE_UNITY_BUILD=ON)
cmake --preset release "${unity[@]}" >/dev/null
cmake --build build -j "$(nproc)" --target mlc mlc-run
artifact=build/chimera-nano.mlca
if [ ! -e "$artifact" ] || [ build/bin/mlc -nt "$artifact" ]; then
  build/bin/mlc compile models/chimera-nano -o "$artifact" --quant int4
fi
for prompt; do
  echo "== build/bin/mlc run $artifact --prompt '$prompt' --max-tokens 100 --temperature 0.7 --seed 1" >&2
  build/bin/mlc run "$artifact" --prompt "$prompt" --max-tokens 100 --temperature 0.7 --seed 1
  echo
done
