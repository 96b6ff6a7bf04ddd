"""kernel_bench's state-space scan beside ggml's ssm_scan, in turns: 48 heads of 64, state 128, one group, 512 tokens.

    scan.py --bench build/bench/kernel_bench [--threads 2] [--rounds 5] [--json OUT]     in llama.cpp's environment
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

HEADS, HEAD, STATE, TOKENS = 48, 64, 128, 512
FORMS = {"f32": 3, "bf16": 5}  # How products meet, and the least ratio.
F32, I32 = 0, 26  # ggml_type


class Ggml:
    """A graph of one ssm_scan through llama_cpp's own libraries."""

    class InitParams(ctypes.Structure):
        _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]

    def __init__(self, threads):
        import llama_cpp
        folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")
        self.base = ctypes.CDLL(os.path.join(folder, "libggml-base.so"), ctypes.RTLD_GLOBAL)
        self.cpu = ctypes.CDLL(os.path.join(folder, "libggml-cpu.so"), ctypes.RTLD_GLOBAL)
        for name in ("init", "new_tensor_1d", "new_tensor_2d", "new_tensor_3d", "new_tensor_4d", "ssm_scan", "new_graph"):
            getattr(self.base, "ggml_" + name).restype = ctypes.c_void_p
        self.base.ggml_init.argtypes = [self.InitParams]
        self.base.ggml_get_data.restype = self.base.ggml_new_graph.restype = ctypes.c_void_p
        self.threads = threads
        self.context = self.base.ggml_init(self.InitParams(256 << 20, None, False))
        state = self.tensor(STATE, HEAD, HEADS, 1, fill=0.1)
        x = self.tensor(HEAD, HEADS, TOKENS, 1, fill=0.5)
        dt = self.tensor(HEADS, TOKENS, 1, fill=0.5)
        a = self.tensor(1, HEADS, fill=-0.5)
        b, c = (self.tensor(STATE, 1, TOKENS, 1, fill=0.5) for _ in range(2))
        ids = self.tensor(1, kind=I32)
        pointer = ctypes.c_void_p
        scan = self.base.ggml_ssm_scan(*map(pointer, (self.context, state, x, dt, a, b, c, ids)))
        self.graph = self.base.ggml_new_graph(pointer(self.context))
        self.base.ggml_build_forward_expand(pointer(self.graph), pointer(scan))

    def tensor(self, *extents, kind=F32, fill=0.0):
        make = getattr(self.base, f"ggml_new_tensor_{len(extents)}d")
        made = make(ctypes.c_void_p(self.context), kind, *map(ctypes.c_int64, extents))
        count = 1
        for extent in extents:
            count *= extent
        data = self.base.ggml_get_data(ctypes.c_void_p(made))
        if kind == I32:
            ctypes.memset(data, 0, 4 * count)
        else:
            (ctypes.c_float * count).from_address(data)[:] = [fill] * count
        return made

    def seconds(self):
        start = time.perf_counter()
        self.cpu.ggml_graph_compute_with_ctx(ctypes.c_void_p(self.context), ctypes.c_void_p(self.graph), self.threads)
        return time.perf_counter() - start


def ours(bench, form, threads):
    """Seconds of a scan, the median of kernel_bench's repetitions."""
    name = f"^ssd/{form}/queries:{TOKENS}/threads:{threads}(/real_time)?$"
    report = subprocess.run([bench, "--benchmark_filter=" + name, "--benchmark_format=json", "--benchmark_min_time=0.3"],
                            check=True, capture_output=True, text=True, timeout=120)
    run, = json.loads(report.stdout)["benchmarks"]
    return run["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3}[run["time_unit"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bench", default="build/bench/kernel_bench")
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="OUT")
    arguments = parser.parse_args()
    ggml = Ggml(arguments.threads)
    ggml.seconds()
    rates = {"ggml": [], **{form: [] for form in FORMS}}
    for _ in range(arguments.rounds):
        rates["ggml"].append(statistics.median(ggml.seconds() for _ in range(7)))
        for form in FORMS:
            rates[form].append(ours(arguments.bench, form, arguments.threads))
    medians = {side: statistics.median(values) for side, values in rates.items()}
    print(f"ssm_scan of ggml: {1e3 * medians['ggml']:.2f} ms, {arguments.threads} threads")
    for form, bar in FORMS.items():
        ratio = medians["ggml"] / medians[form]
        print(f"{form} products: {1e3 * medians[form]:.2f} ms, {ratio:.2f} times as fast (bar {bar}: "
              f"{'met' if ratio >= bar else 'missed'})")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(dict(threads=arguments.threads, seconds=rates), file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
