#!/usr/bin/env bash
# Formats the C++ files that differ from the last commit, or all of them.
#   tools/format.sh [--all | --check | --install-hook]
#     --check         changes nothing, fails where a changed file is not formatted (what the hook runs)
#     --install-hook  runs --check before every commit of this clone
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
patterns=('*.cpp' '*.h' '*.c' '*.cu' '*.cuh')
case ${1:-} in
  '' | --check) mapfile -d '' -t files < <(
    git diff -z --name-only --diff-filter=d HEAD -- "${patterns[@]}"
    git ls-files -z --others --exclude-standard -- "${patterns[@]}"
  ) ;;
  --all) mapfile -d '' -t files < <(git ls-files -z -- "${patterns[@]}") ;;
  --install-hook)
    hook=$(git rev-parse --git-path hooks)/pre-commit
    mkdir -p "$(dirname "$hook")"
    printf '#!/bin/sh\nexec tools/format.sh --check\n' >"$hook"
    chmod +x "$hook"
    echo "installed $hook"
    exit
    ;;
  *)
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
[ ${#files[@]} -gt 0 ] || exit 0
if [ "${1:-}" = --check ]; then
  clang-format-19 --dry-run -Werror "${files[@]}" || {
    echo "format.sh: run tools/format.sh, then commit again" >&2
    exit 1
  }
else
  clang-format-19 -i "${files[@]}"
fi
