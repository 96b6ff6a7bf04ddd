# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Which units the machine code of every kernel uses: one line each, sorted; fails
where a kernel reads or writes local memory.

    python3 sass.py NVDISASM IMAGE.cubin...
"""
import re
import subprocess
import sys

UNITS = {"wgmma": "HGMMA", "mma": "HMMA", "byte-wgmma": "IGMMA", "byte-mma": "IMMA", "tma": "UTMALDG", "bulk": "UBLKCP", "cp.async": "LDGSTS", "ldmatrix": "LDSM", "setmaxnreg": "USETMAXREG"}
lines, bad = [], []
for image in sys.argv[2:]:
    arch = image.split(".")[-2]
    text = subprocess.run([sys.argv[1], "-c", image], check=True, capture_output=True, text=True).stdout
    for section in re.split(r"^\s*\.section\s+\.text\.", text, flags=re.M)[1:]:
        kernel = re.match(r"\w+", section)[0]
        found = set(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?\s*(\w+)", section, flags=re.M))
        lines.append(f"{arch} {kernel}: " + " ".join(name for name, code in UNITS.items() if code in found))
        if found & {"LDL", "STL"}:
            bad.append(f"{arch} {kernel}")
print("\n".join(sorted(lines)))
if bad or not lines:
    sys.exit("local memory: " + ", ".join(bad) if bad else "no kernel")
