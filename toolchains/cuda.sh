#!/usr/bin/env bash
# nvcc for the CUDA kernels, where the machine has none: from PyPI into build-cuda/, where CMake finds it (120 MB to
# fetch, 280 MB on disk). Needs x86-64, python3-venv and a C++ compiler; does nothing when there is an nvcc.
#   toolchains/cuda.sh
# MLC_NO_PACKAGES=1 leaves the machine as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -z "${MLC_NO_PACKAGES:-}" ] || exit 0
for nvcc in "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" build-cuda/nvidia/cu13/bin/nvcc; do
  [ ! -x "$nvcc" ] || exit 0
done
! command -v nvcc >/dev/null || exit 0
if [ "$(uname -m)" != x86_64 ]; then
  echo "cuda.sh: no nvcc for $(uname -m) here; kernels are compiled on x86-64, and artifacts carry them" >&2
  exit 0
fi
echo "cuda.sh: installing nvcc into build-cuda" >&2
trap 'rm -rf build-cuda.partial' EXIT
rm -rf build-cuda build-cuda.partial
python3 -m venv build-cuda.partial/venv
build-cuda.partial/venv/bin/pip install -q --disable-pip-version-check --retries 5 --require-hashes --no-deps \
  --no-compile --only-binary=:all: --target build-cuda.partial -r toolchains/cuda-requirements.txt >&2
rm -rf build-cuda.partial/venv
mv build-cuda.partial build-cuda
