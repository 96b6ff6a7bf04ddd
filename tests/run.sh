#!/usr/bin/env bash
# Sets the machine up and passes every test: packages, tree checks, build, unit, lit, end to end, the runtime with gcc,
# the runtime under ASan and UBSan, its threads under TSan, each fuzz target for some seconds, and what the presets of
# devices build, under emulation. Works as root or with sudo; can be run again cheaply. The last line is
# 'N passed, N failed, N skipped'.
#   tests/run.sh [--quick] [--fuzz-seconds N]
#     --quick           no gcc, sanitizer, fuzz or device build
#     --fuzz-seconds N  for each fuzz target (default 5)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export CLICOLOR=0

quick=0 fuzz_seconds=5
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1 ;;
    --fuzz-seconds)
      fuzz_seconds=${2:?--fuzz-seconds needs a number}
      shift
      ;;
    *)
      sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
  shift
done

results=$PWD/build/test-results
rm -rf "$results"
mkdir -p "$results"
jobs=$(nproc)
timings=()
# Debian's, which has Debian's NumPy, before any other in the PATH.
python=/usr/bin/python3

# phase NAME COMMAND...: runs a command, says how long it took; its output stays in the results.
phase() {
  local name=$1 start=$SECONDS status=0
  shift
  echo "== $name"
  "$@" >"$results/$name.log" 2>&1 || status=$?
  timings+=("$(printf '%6d s  %s' $((SECONDS - start)) "$name")")
  if [ $status -ne 0 ]; then
    tail -n 60 "$results/$name.log"
    echo "== $name failed (exit $status); all of its output: $results/$name.log"
  fi
  return $status
}
# step NAME COMMAND...: a phase that is itself one result.
step() {
  local state=passed
  phase "$@" || state=failed
  printf '%s\t%s\n' "$1" $state >>"$results/steps.tsv"
  [ $state = passed ]
}
# unit_tests NAME BUILD [OPTION...]: every CTest program of a build, or those that CTest's options choose.
unit_tests() {
  phase "$1" env GTEST_OUTPUT="json:$results/$1.gtest/" ctest --test-dir "$2" --output-on-failure -j "$jobs" \
    --timeout 600 --no-tests=error --output-junit "$results/$1.ctest.xml" "${@:3}"
}
# shellcheck disable=SC2317 # phase calls it.
build() { cmake --build "$1" -j "$jobs" -- -k 0 "${@:2}"; }
finish() {
  printf '%s\n' '== time' "${timings[@]}" '== results'
  $python tests/summary.py "$results"
  exit
}

phase packages toolchains/packages.sh || {
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}
step tree tests/check-tree.sh
# Fresh trees compile several sources at a time, which takes half as long; one that stands keeps its way.
unity=-DCMAKE_UNITY_BUILD=ON
fresh=()
[ -e build/CMakeCache.txt ] || fresh=("$unity")
step configure cmake --preset release "${fresh[@]}" || finish
step build build build
# The attention kernels are a library of their own, which needs nvcc.
[ ! -e build/cuda/Wgmma.inc ] || step build-attention build build mlc_cuda_attention
unit_tests unit build
phase lit $python build/bin/llvm-lit -sv -j "$jobs" -o "$results/lit.lit.json" tests/lit ||
  [ -e "$results/lit.lit.json" ] || printf 'lit\tfailed\n' >>"$results/steps.tsv"
phase e2e $python tests/e2e/run.py --build build --jobs "$jobs" --results "$results/e2e.counts.json" ||
  [ -e "$results/e2e.counts.json" ] || printf 'e2e\tfailed\n' >>"$results/steps.tsv"
[ $quick = 0 ] || finish

# What another compiler's code may calculate otherwise, by g++.
gcc_tests=(CapiTest NetworkTest SessionTest SharedPoolTest SpeculateTest WorkerPoolTest WriteTinyArtifact artifact_checks_test
  cpu_attention_test cpu_check_test cpu_elementwise_test cpu_linear_test cpu_moe_test cpu_pack_test cpu_recurrent_test
  cpu_simd_test xnnpack_check_test xnnpack_pool_test)
gcc_picked="^($(IFS='|' && echo "${gcc_tests[*]}")|CapiTestArtifact)\$"
step configure-gcc cmake --preset runtime-gcc $unity &&
  step build-gcc build build-runtime-gcc mlc-run mlc-serve mlc_shared "${gcc_tests[@]}" &&
  unit_tests unit-gcc build-runtime-gcc -R "$gcc_picked"

# The runtime's tests and the parsers' under ASan and UBSan in one tree.
runtime_tests=(BlockFormatsTest CapiTest ChatTemplateTest CommandLineTest CpusTest EngineTest GrammarTest NetworkTest NpyTest
  QuestionsTest ServingTest SessionTest SharedPoolTest SpeculateTest WorkerPoolTest WriteTinyArtifact artifact_checks_test artifact_loader_test
  artifact_structure_test cpu_attention_test cpu_check_test cpu_elementwise_test cpu_linear_test cpu_moe_test cpu_pack_test
  cpu_recurrent_test cpu_simd_test xnnpack_check_test xnnpack_pool_test)
runtime_picked="^($(IFS='|' && echo "${runtime_tests[*]}")|CapiTestArtifact)\$"
step configure-asan cmake --preset asan $unity && step build-asan build build-asan mlc-fuzzers "${runtime_tests[@]}" && {
  unit_tests unit-asan build-asan -R "$runtime_picked"
  step fuzz tests/fuzz/run.sh --seconds "$fuzz_seconds" --results "$results/steps.tsv"
}
# What runs on several threads.
threaded_tests=(EngineTest SessionTest SharedPoolTest WorkerPoolTest)
step configure-tsan cmake --preset tsan $unity && step build-tsan build build-tsan "${threaded_tests[@]}" &&
  unit_tests unit-tsan build-tsan -R "^($(IFS='|' && echo "${threaded_tests[*]}"))\$"

# Every CPU that the presets build for, under emulation: the kernels in tests built for the device, and where pointers
# have 32 bits what depends on that. XNNPACK is left out where it could not be fetched. libmlc-xnnpack.so needs programs that are not static; those of the third CPU are.
kernel_tests=(cpu_attention_test cpu_check_test cpu_elementwise_test cpu_linear_test cpu_moe_test cpu_pack_test
  cpu_recurrent_test cpu_simd_test NetworkTest WorkerPoolTest)
pointer_tests=("${kernel_tests[@]}" artifact_checks_test SessionTest WriteTinyArtifact CapiTest)
xnnpack=()
[ ! -e build-xnnpack/arm-linux-gnueabihf ] || [ ! -e build-xnnpack/aarch64-linux-gnu ] || xnnpack=(mlc_xnnpack)
step configure-aarch64 cmake --preset device-aarch64 $unity -DMLC_BUILD_TESTS=ON &&
  step build-aarch64 build build-device-aarch64 mlc-run mlc-serve mlc_shared "${xnnpack[@]}" "${kernel_tests[@]}" &&
  unit_tests unit-aarch64 build-device-aarch64 -R "^($(IFS='|' && echo "${kernel_tests[*]}"))\$"
step configure-armv7 cmake --preset device-armv7 $unity -DMLC_BUILD_TESTS=ON &&
  step build-armv7 build build-device-armv7 mlc-run "${xnnpack[@]}" "${pointer_tests[@]}" &&
  unit_tests unit-armv7 build-device-armv7 -R "^($(IFS='|' && echo "${pointer_tests[*]}")|CapiTestArtifact)\$"
step configure-x86-64-v2 cmake --preset device-x86-64-v2-static $unity &&
  step build-x86-64-v2 build build-device-x86-64-v2-static mlc-run mlc_static_library
phase devices $python tests/e2e/run.py --devices --build build --results "$results/devices.counts.json" ||
  [ -e "$results/devices.counts.json" ] || printf 'devices\tfailed\n' >>"$results/steps.tsv"
finish
