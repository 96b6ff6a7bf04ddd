#!/bin/sh
# Runs a command of the build whose messages are kept: logged.sh LOG COMMAND... They are shown when it fails.
log=$1
shift
"$@" >"$log" 2>&1 || {
  status=$?
  cat "$log" >&2
  exit $status
}
