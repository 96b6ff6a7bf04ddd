#!/usr/bin/env bash
# From a fresh Debian 12 to generated text: installs what is needed, builds, compiles the shipped model and runs it.
# Works as root or with sudo; can be run again cheaply.
#   toolchains/quickstart.sh [PROMPT]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
prompt=${1:-ROMEO:}

toolchains/packages.sh
cmake --preset release >/dev/null
cmake --build build -j "$(nproc)" --target mlc mlc-run
if [ ! -e build/shakespeare.mlca ] || [ build/bin/mlc -nt build/shakespeare.mlca ]; then
  build/bin/mlc compile models/shakespeare -o build/shakespeare.mlca
fi
echo "== build/bin/mlc run build/shakespeare.mlca --prompt '$prompt' --max-tokens 200 --temperature 0.8 --seed 1" >&2
build/bin/mlc run build/shakespeare.mlca --prompt "$prompt" --max-tokens 200 --temperature 0.8 --seed 1
