# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The build backend (PEP 517) of this package: CMake builds the library, this writes the wheel. It needs nothing from
PyPI, so `pip install` works without a network; cmake, nvcc (or the one that toolchains/cuda.sh installs) and a C++
compiler must be there. MLC_ATTENTION_LIBRARY names a library that was built already.
"""

import base64
import csv
import hashlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_LIBRARY = "libmlc_cuda_attention.so"
_TAG = "py3-none-linux_x86_64"  # ctypes: any Python; the library has no ABI of PyTorch's or of Python's


def _field(name):
    """A string of pyproject.toml, which tomllib reads from Python 3.11 on only."""
    return re.search(rf'^{name} = "(.*)"$', (_ROOT / "pyproject.toml").read_text(), re.M)[1]


def _dist():
    return f"{_field('name').replace('-', '_')}-{_field('version')}"


def _metadata():
    return (
        f"Metadata-Version: 2.1\nName: {_field('name')}\nVersion: {_field('version')}\n"
        f"Summary: {_field('description')}\nRequires-Python: {_field('requires-python')}\n"
        "License: Apache-2.0 WITH LLVM-exception\nRequires-Dist: torch>=2.4\n"
        "Description-Content-Type: text/markdown\n\n" + (_ROOT / "README.md").read_text()
    )


def _library(directory):
    ready = os.environ.get("MLC_ATTENTION_LIBRARY")
    if ready:
        return pathlib.Path(ready)
    if not shutil.which("cmake"):
        sys.exit("mlc-attention: error: cmake is not installed; it builds the kernels (or set MLC_ATTENTION_LIBRARY)")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(["cmake", *generator, "-S", str(_ROOT.parent / "attention"), "-B", directory], check=True)
    subprocess.run(["cmake", "--build", directory, "--target", "mlc_cuda_attention", "--parallel"], check=True)
    return pathlib.Path(directory) / _LIBRARY


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    files = {f"mlc_attention/{path.name}": path.read_bytes() for path in (_ROOT / "mlc_attention").glob("*.py")}
    with tempfile.TemporaryDirectory() as directory:
        files[f"mlc_attention/{_LIBRARY}"] = _library(directory).read_bytes()
    info = f"{_dist()}.dist-info"
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: mlc\nRoot-Is-Purelib: false\nTag: {_TAG}\n".encode()
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow((name, f"sha256={digest}", len(content)))
    writer.writerow((f"{info}/RECORD", "", ""))
    files[f"{info}/RECORD"] = record.getvalue().encode()
    name = f"{_dist()}-{_TAG}.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in sorted(files.items()):
            # One date, so that the same sources make the same wheel.
            wheel.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return name


def build_sdist(sdist_directory, config_settings=None):
    sys.exit("mlc-attention: error: no source archive: the kernels lie elsewhere in the tree; install from a checkout")
