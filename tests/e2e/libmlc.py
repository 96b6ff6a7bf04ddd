# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Networks through libmlc.so (target mlc_shared): the part of runtime/capi/mlc.h that runs them, by ctypes."""
import ctypes

import numpy as np

DTYPES = {0: np.float32, 1: np.float16, 3: np.float64, 4: np.int8, 5: np.uint8, 6: np.int16, 7: np.uint16, 8: np.int32,
          9: np.uint32, 10: np.int64, 11: np.uint64, 12: np.bool_}
INPUT, OUTPUT = 0, 1


class PortInfo(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("name", ctypes.c_char_p), ("dtype", ctypes.c_uint32),
                ("rank", ctypes.c_uint32), ("dims", ctypes.c_int64 * 8), ("most", ctypes.c_int64 * 8),
                ("bytes", ctypes.c_uint64)]


class NetworkOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("threads", ctypes.c_uint32), ("pool", ctypes.c_void_p),
                ("session_class", ctypes.c_uint32), ("max_memory", ctypes.c_uint64), ("function", ctypes.c_char_p)]


class Network:
    """A network of an artifact, its ports as arrays over their own memory: what a run reads is written into `inputs`, what
    it gave is in `outputs` until the next one. Its states begin as zeros."""

    def __init__(self, library, path, threads=1):
        self.library, self.model, self.handle = library, ctypes.c_void_p(), ctypes.c_void_p()
        self.check(library.mlc_model_open(path.encode(), None, ctypes.byref(self.model)))
        options = NetworkOptions()
        library.mlc_network_options_init(ctypes.byref(options))
        options.threads = threads
        self.check(library.mlc_network_create(self.model, ctypes.byref(options), ctypes.byref(self.handle)))
        library.mlc_network_input.restype = library.mlc_network_output.restype = ctypes.c_void_p
        library.mlc_network_ports.restype = ctypes.c_size_t
        self.inputs, self.outputs = self.ports(INPUT, library.mlc_network_input), self.ports(OUTPUT, library.mlc_network_output)

    def check(self, status):
        if status:
            self.library.mlc_error_text.restype = ctypes.c_char_p
            raise RuntimeError(self.library.mlc_error_text().decode())

    def ports(self, kind, memory):
        found = {}
        for i in range(self.library.mlc_network_ports(self.handle, kind)):
            info = PortInfo(size=ctypes.sizeof(PortInfo))
            self.check(self.library.mlc_network_port(self.handle, kind, ctypes.c_size_t(i), ctypes.byref(info)))
            raw = (ctypes.c_char * info.bytes).from_address(memory(self.handle, ctypes.c_size_t(i)))
            found[info.name.decode()] = np.frombuffer(raw, DTYPES[info.dtype]).reshape(info.dims[:info.rank])
        return found

    def run(self):
        self.check(self.library.mlc_network_run(self.handle))


def function(network):
    """A network of one input and one output as a function of one array."""
    (into,), (out,) = network.inputs.values(), network.outputs.values()

    def run(array):
        into[...] = array
        network.run()
        return out.copy()
    return run
