#!/bin/sh
# weak_symbols.sh NM OBJECT...: the objects of an ISA form define no weak or unique symbol, which the linker could take
# for code that runs on every machine.
nm=$1
shift
[ $# -gt 0 ] || { echo "no objects given"; exit 1; }
status=0
for object; do
  [ -f "$object" ] || { echo "missing: $object"; exit 1; }
  found=$("$nm" --defined-only "$object" | awk '$2 ~ /^[WwVvu]$/')
  if [ -n "$found" ]; then
    echo "$object defines weak symbols:"
    echo "$found"
    status=1
  fi
done
exit $status
