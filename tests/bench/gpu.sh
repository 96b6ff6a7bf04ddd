#!/usr/bin/env bash
# The CUDA kernels and the CUDA target on a GPU: tests, a grid of shapes against f64, every family of models beside the
# CPU, compute-sanitizer, benchmarks beside the peers.
#   tests/bench/gpu.sh [--out DIR] [attention|target]
#                                     runs one part, or both in at most 10 minutes each; DIR (build/gpu/results) gets
#                                     the results
#   tests/bench/gpu.sh --pack DIR     builds, and makes DIR a copy of what a run needs, for a machine with a GPU but
#                                     without nvcc: there DIR/tests/bench/gpu.sh is run
# Needs PyTorch with CUDA on the machine with the GPU, and the compiler's build (build/) for the target. PYTHON names the
# interpreter. Exits 1 if a test fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
python=${PYTHON:-python3}
out=$PWD/build/gpu/results pack='' parts='attention target'
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$(realpath -m "$2") && shift 2 ;;
    --pack) pack=$(realpath -m "$2") && shift 2 ;;
    attention | target) parts=$1 && shift ;;
    -h | --help) sed -n '2,11s/^# //p' "${BASH_SOURCE[0]}" && exit ;;
    *) echo "gpu.sh: unknown option $1; --help" >&2 && exit 2 ;;
  esac
done

library=$PWD/build/gpu/libmlc_cuda_attention.so
if [ -n "$pack" ] || { [ ! -e "$library" ] && [[ $parts == *attention* ]]; }; then
  cmake -G Ninja -S targets/cuda/attention -B build/gpu >/dev/null && ninja -C build/gpu mlc_cuda_attention || exit 1
fi
if [ -n "$pack" ]; then
  mkdir -p "$pack"/{build/gpu,tests/bench,targets/cuda/torch} &&
    cp "$library" "$pack/build/gpu/" && strip -g "$pack/build/gpu/${library##*/}" &&
    cp -r tests/bench/gpu.sh tests/bench/gpu "$pack/tests/bench/" &&
    cp -r targets/cuda/torch/{mlc_attention,tests} "$pack/targets/cuda/torch/" || exit 1
  # The target's part: programs without their symbols, models, recorded oracles.
  ninja -C build mlc mlc-run gpu_linear_bench gpu_ssd_bench || exit 1
  mkdir -p "$pack"/build/{bin,bench,cuda/mlc_cuda_images} "$pack"/tests/oracles "$pack"/models &&
    cp build/bin/{mlc,mlc-run} "$pack/build/bin/" && cp build/bench/gpu_{linear,ssd}_bench "$pack/build/bench/" &&
    strip "$pack"/build/bin/mlc* "$pack"/build/bench/gpu_*_bench &&
    cp -r tests/e2e "$pack/tests/" && cp -r models/{chimera-nano,draft-pair,grow.py} "$pack/models/" &&
    cp -r tests/oracles/. "$pack/tests/oracles/"
  exit
fi

mkdir -p "$out"
export MLC_ATTENTION_LIBRARY=$library PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$PWD/targets/cuda/torch:$PWD/targets/cuda/torch/tests
failed=0
# step NAME SECONDS COMMAND...: its output goes to a file, the end of it here.
step() {
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  timeout "$limit" "$@" >"$out/$name.txt" 2>&1
  local status=$?
  [ $status -eq 0 ] || failed=1
  echo "== $name: exit $status, $((SECONDS - begin)) s"
  tail -n "${lines:-4}" "$out/$name.txt"
}
attention() {
  step tests 120 "$python" -m pytest -q --no-header -p no:cacheprovider targets/cuda/torch/tests/test_gpu.py
  lines=20 step grid 120 "$python" tests/bench/gpu/attention_grid.py --out "$out/grid.json"
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
      step "$tool" 60 compute-sanitizer --tool $tool --error-exitcode 1 "$python" tests/bench/gpu/attention_small.py
    done
  else
    echo "== compute-sanitizer is not installed: not run"
  fi
  lines=60 step bench 240 "$python" tests/bench/gpu/attention_bench.py --out "$out"
  cat "$out/attention.md" 2>/dev/null
}
target() {
  lines=20 step products 40 build/bench/gpu_linear_bench --check
  lines=40 step scan-bits 20 build/bench/gpu_ssd_bench --check
  MLC_GPU=1 step families 110 "$python" tests/e2e/test_gpu.py
  gpus=$(nvidia-smi -L 2>/dev/null | wc -l)
  [ "$gpus" -lt 2 ] || MLC_GPUS=$gpus step ranks 110 "$python" tests/e2e/test_gpus.py
  if command -v compute-sanitizer >/dev/null; then
    build/bin/mlc compile models/chimera-nano -o "$out/nano.mlca" --target cuda >/dev/null || failed=1
    for tool in memcheck racecheck; do
      step "scan-$tool" 20 compute-sanitizer --tool $tool --error-exitcode 1 build/bench/gpu_ssd_bench --check
      step "target-$tool" 30 compute-sanitizer --tool $tool --error-exitcode 1 build/bin/mlc-run "$out/nano.mlca" \
        --tokens "$(seq -s, 5 80)" --max-tokens 4 --ignore-eos
    done
  else
    echo "== compute-sanitizer is not installed: not run"
  fi
  lines=60 step linear 60 build/bench/gpu_linear_bench
  lines=40 step scan 70 "$python" tests/bench/gpu/ssd_bench.py --out "$out/scan.json"
  lines=40 step models 200 "$python" tests/bench/gpu/target_bench.py --mlc build/bin/mlc --out "$out/target"
}
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader
[[ $parts != *attention* ]] || attention
[[ $parts != *target* ]] || target
exit $failed
