# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""mlc-run with the XNNPACK of the Debian 13 that tests/xnnpack-newer.sh made."""
import os


def runner(root):
    """The command, by the loader and the libraries of `root`."""
    libraries = (os.path.join(root, "build", "lib"), os.path.join(root, "usr", "lib", "x86_64-linux-gnu"))
    return [os.path.join(root, "lib64", "ld-linux-x86-64.so.2"), "--library-path", ":".join(libraries),
            os.path.join(root, "build", "bin", "mlc-run")]
