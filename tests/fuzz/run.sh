#!/usr/bin/env bash
# Builds the libFuzzer targets (ASan and UBSan) and runs them all for MINUTES together, half of the CPUs each.
#   tests/fuzz/run.sh MINUTES [TARGET...]
#   tests/fuzz/run.sh --seconds N [--results FILE.tsv] [TARGET...]     N seconds for each target
# Seeds are tests/fuzz/corpus/TARGET/, a dictionary is tests/fuzz/TARGET.dict. What a run finds stays in
# build-asan/corpus/TARGET/, an input that fails in build-asan/crashes/: replay it with build-asan/fuzz/TARGET FILE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
usage() {
  sed -n '2,6s/^# \{0,1\}//p' tests/fuzz/run.sh >&2
  exit 2
}

seconds='' minutes='' results=''
while [ $# -gt 0 ]; do
  case $1 in
    --seconds)
      seconds=${2:-}
      shift
      ;;
    --results)
      results=${2:-}
      shift
      ;;
    -*) usage ;;
    *)
      [ -n "$minutes$seconds" ] && break
      minutes=$1
      ;;
  esac
  shift || usage
done
[[ ${minutes:-0} =~ ^[0-9]+$ && ${seconds:-0} =~ ^[0-9]+$ && -n $minutes$seconds ]] || usage

toolchains/packages.sh
cmake --preset asan >/dev/null
cmake --build build-asan -j "$(nproc)" --target "${@:-mlc-fuzzers}"
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for program in build-asan/fuzz/*; do
    [ -f "$program" ] && [ -x "$program" ] && targets+=("$(basename "$program")")
  done
fi
if [ ${#targets[@]} -eq 0 ]; then
  echo "fuzz: no targets in build-asan/fuzz" >&2
  exit 1
fi
parallel=$(nproc)
[ -n "$seconds" ] || seconds=$((minutes * 60 * parallel / ${#targets[@]} + 1))

# Runs one target; its last line in build-asan/logs says how it went.
one() {
  local name=$1 arguments=() corpus=build-asan/corpus/$1
  mkdir -p "$corpus" build-asan/crashes build-asan/logs
  [ -f "tests/fuzz/$name.dict" ] && arguments+=("-dict=tests/fuzz/$name.dict")
  arguments+=("$corpus")
  [ -d "tests/fuzz/corpus/$name" ] && arguments+=("tests/fuzz/corpus/$name")
  ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
    "build-asan/fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
    -print_final_stats=1 -artifact_prefix="build-asan/crashes/$name-" "${arguments[@]}" >"build-asan/logs/$name.log" 2>&1
}

failed=0
for ((i = 0; i < ${#targets[@]}; i += parallel)); do
  running=() names=("${targets[@]:i:parallel}")
  for name in "${names[@]}"; do
    one "$name" &
    running+=($!)
  done
  for index in "${!running[@]}"; do
    name=${names[index]} state=passed
    if ! wait "${running[index]}"; then
      state=failed failed=1
      tail -n 40 "build-asan/logs/$name.log"
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build-asan/logs/$name.log")
    echo "fuzz $name: $state, ${runs:-no} runs in $seconds s"
    [ -z "$results" ] || printf 'fuzz %s\t%s\n' "$name" $state >>"$results"
  done
done
exit $failed
