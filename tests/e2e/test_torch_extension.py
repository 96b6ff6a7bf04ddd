# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The wheel of targets/cuda/torch as its backend writes it; and that package's own tests where PyTorch and pytest are
installed (with the emulator's library, if libmlc_attention_emulated.so was built, on the CPU)."""
import base64
import csv
import glob
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build"))
PACKAGE = os.path.join(ROOT, "targets", "cuda", "torch")


def backend():
    spec = importlib.util.spec_from_file_location("mlc_wheel", os.path.join(PACKAGE, "backend", "mlc_wheel.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Wheel(unittest.TestCase):
    def test_holds_the_package_and_the_library(self):
        with tempfile.TemporaryDirectory() as folder:
            library = os.path.join(folder, "library.so")
            with open(library, "wb") as file:
                file.write(b"kernels")
            with mock.patch.dict(os.environ, MLC_ATTENTION_LIBRARY=library):
                name = backend().build_wheel(folder)
                with open(os.path.join(folder, name), "rb") as file:
                    first = file.read()
                backend().build_wheel(folder)
            with open(os.path.join(folder, name), "rb") as file:
                self.assertEqual(first, file.read())
        self.assertEqual(name, "mlc_attention-0.1.0-py3-none-linux_x86_64.whl")
        with zipfile.ZipFile(io.BytesIO(first)) as wheel:
            files = {entry: wheel.read(entry) for entry in wheel.namelist()}
        self.assertEqual(files["mlc_attention/libmlc_cuda_attention.so"], b"kernels")
        sources = glob.glob(os.path.join(PACKAGE, "mlc_attention", "*.py"))
        self.assertEqual(sum(entry.endswith(".py") for entry in files), len(sources))
        self.assertIn(b"\nRequires-Dist: torch", files["mlc_attention-0.1.0.dist-info/METADATA"])
        for entry, digest, size in csv.reader(io.StringIO(files["mlc_attention-0.1.0.dist-info/RECORD"].decode())):
            if digest:
                found = base64.urlsafe_b64encode(hashlib.sha256(files[entry]).digest()).rstrip(b"=").decode()
                self.assertEqual((digest, int(size)), (f"sha256={found}", len(files[entry])))


class Package(unittest.TestCase):
    def test_its_own_tests(self):
        for module in ("torch", "pytest"):
            if importlib.util.find_spec(module) is None:
                self.skipTest(f"no {module}; pip install {module}")
        environment = dict(os.environ, PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1")
        emulated = os.path.join(BUILD, "targets", "cuda", "attention", "libmlc_attention_emulated.so")
        if os.path.exists(emulated):
            environment["MLC_ATTENTION_EMULATOR"] = emulated
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", os.path.join(PACKAGE, "tests")],
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
