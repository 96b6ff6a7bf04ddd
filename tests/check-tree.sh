#!/usr/bin/env bash
# Checks the tracked tree: its size, the size of its files, the format of its C++, its scripts (with shellcheck where
# installed). Warns of C++ files above 500 lines.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

max_tree=$((48 << 20)) max_file=$((4 << 20)) max_lines=500
status=0
complain() {
  echo "check-tree: error: $*" >&2
  status=1
}

if git -c safe.directory='*' rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  mapfile -d '' -t files < <(git -c safe.directory='*' ls-files -z --cached)
else
  mapfile -d '' -t files < <(find . -type f -not -path './build*' -not -path './.git/*' -printf '%P\0')
fi
total=0 cpp=() scripts=()
for file in "${files[@]}"; do
  [ -f "$file" ] || continue
  size=$(stat -c %s "$file")
  total=$((total + size))
  [ "$size" -le $max_file ] || complain "$file: $size bytes; a file holds at most $max_file"
  case $file in
    *.cpp | *.h | *.c | *.cu | *.cuh) cpp+=("$file") ;;
    *.sh | .ci/run) scripts+=("$file") ;;
  esac
done
[ $total -le $max_tree ] || complain "the tracked tree holds $total bytes; at most $max_tree"

if [ ${#cpp[@]} -gt 0 ]; then
  for file in "${cpp[@]}"; do
    lines=$(wc -l <"$file")
    [ "$lines" -le $max_lines ] || echo "check-tree: warning: $file: $lines lines; at most $max_lines are wanted" >&2
  done
  clang-format-19 --dry-run -Werror "${cpp[@]}" || complain "not formatted; run tools/format.sh --all"
fi
if command -v shellcheck >/dev/null && [ ${#scripts[@]} -gt 0 ]; then
  shellcheck "${scripts[@]}" || complain "shellcheck complains"
fi
echo "check-tree: ${#files[@]} files, $((total >> 10)) KiB, ${#cpp[@]} of C++"
exit $status
