# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Compiled regions: a small llama whose activation is written with arith and math ops, against the same model with the
op that a kernel runs, at every level of code, and against the reference interpreter."""
import json
import math
import os
import platform
import random
import shutil
import struct
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin", "mlc")
TOKENS = [3, 17, 39, 0, 8, 8, 21]
SHAPES = {"embed": (40, 64), "norm": (64,), "q": (64, 64), "k": (32, 64), "v": (32, 64), "o": (64, 64),
          "gate": (96, 64), "up": (96, 64), "down": (64, 96)}

# Each defines %ga = silu(%g); %one and %half are splats.
KERNEL = "%ga = graph.activation silu %g : tensor<?x96xf32>"
EXPONENTIAL = """
  %neg = arith.negf %g : tensor<?x96xf32>
  %e = math.exp %neg : tensor<?x96xf32>
  %den = arith.addf %e, %one : tensor<?x96xf32>
  %rcp = arith.divf %one, %den : tensor<?x96xf32>
  %ga = arith.mulf %g, %rcp : tensor<?x96xf32>"""
TANH = """
  %hg = arith.mulf %g, %half : tensor<?x96xf32>
  %t = math.tanh %hg : tensor<?x96xf32>
  %t1 = arith.addf %t, %one : tensor<?x96xf32>
  %s = arith.mulf %t1, %half : tensor<?x96xf32>
  %ga = arith.mulf %g, %s : tensor<?x96xf32>"""
# x / sqrt((1 + e^-x)^2)
SQUARE_ROOT = """
  %neg = arith.negf %g : tensor<?x96xf32>
  %e = math.exp2 %scaled : tensor<?x96xf32>
  %den = arith.addf %e, %one : tensor<?x96xf32>
  %sq = arith.mulf %den, %den : tensor<?x96xf32>
  %root = math.sqrt %sq : tensor<?x96xf32>
  %ga = arith.divf %g, %root : tensor<?x96xf32>""".replace(
    "%neg = arith.negf %g : tensor<?x96xf32>", """%neg = arith.negf %g : tensor<?x96xf32>
  %scaled = arith.mulf %neg, %log2e : tensor<?x96xf32>""")


def splat(name, value):
    return f"""
  %{name}_value = arith.constant {value!r} : f32
  %{name} = linalg.fill ins(%{name}_value : f32) outs(%like : tensor<?x96xf32>) -> tensor<?x96xf32>"""


def graph(activation):
    weights = "\n".join(f"graph.weight @{name} : tensor<{'x'.join(map(str, shape))}xf32> stored f32"
                        for name, shape in SHAPES.items())
    splats = "" if activation == KERNEL else f"""
  %axis = arith.constant 0 : index
  %rowcount = tensor.dim %g, %axis : tensor<?x96xf32>
  %like = tensor.empty(%rowcount) : tensor<?x96xf32>{splat("one", 1.0)}{splat("half", 0.5)}{splat("log2e", math.log2(math.e))}"""
    return f"""
graph.model "llama" {{vocab_size = 40 : i64, trained_context = 128 : i64}}
graph.extent @tokens
graph.extent @rows
graph.state @kv kv sequence {{kv_heads = 2 : i64, head_dim = 16 : i64}}
{weights}
func.func @step(%batch: !graph.batch, %tokens: tensor<?xi32> {{graph.dims = ["tokens"]}},
                %rows: tensor<?xi32> {{graph.dims = ["rows"]}}) -> tensor<?x40xf32> {{
  %angles = graph.rope_angles %batch {{rotary_dim = 16 : i64, theta = 1.0e4}} : tensor<?x16xf32>
  %x = graph.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x64xf32>
  %n = graph.rms_norm %x, @norm {{eps = 1.0e-5 : f32}} : tensor<?x64xf32>
  %q = graph.linear %n, [@q] : tensor<?x64xf32> -> tensor<?x64xf32>
  %k = graph.linear %n, [@k] : tensor<?x64xf32> -> tensor<?x32xf32>
  %v = graph.linear %n, [@v] : tensor<?x64xf32> -> tensor<?x32xf32>
  %qr = graph.rope %q, %angles {{head_dim = 16 : i64}} : tensor<?x64xf32>, tensor<?x16xf32>
  %kr = graph.rope %k, %angles {{head_dim = 16 : i64}} : tensor<?x32xf32>, tensor<?x16xf32>
  %a = graph.attention %qr, %kr, %v, %batch, @kv {{heads = 4 : i64, scale = 0.25 : f32}} : tensor<?x64xf32>, tensor<?x32xf32>
  %o = graph.linear %a, [@o] : tensor<?x64xf32> -> tensor<?x64xf32>
  %x1 = arith.addf %x, %o : tensor<?x64xf32>
  %n1 = graph.rms_norm %x1, @norm {{eps = 1.0e-5 : f32}} : tensor<?x64xf32>
  %g = graph.linear %n1, [@gate] : tensor<?x64xf32> -> tensor<?x96xf32>
  %u = graph.linear %n1, [@up] : tensor<?x64xf32> -> tensor<?x96xf32>{splats}
  {activation}
  %h = arith.mulf %ga, %u : tensor<?x96xf32>
  %d = graph.linear %h, [@down] : tensor<?x96xf32> -> tensor<?x64xf32>
  %x2 = arith.addf %x1, %d : tensor<?x64xf32>
  %w = graph.gather_rows %x2, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %l = graph.linear %w, [@embed] : tensor<?x64xf32> -> tensor<?x40xf32>
  return %l : tensor<?x40xf32>
}}
"""


def random_activation(draw):
    """%ga as a random function of %g and %u: bounded and continuous, so that rounding stays small."""
    unary = ["math.tanh", "math.sin", "math.cos", "math.absf", "math.atan", "math.erf", "arith.negf"]
    binary = ["arith.addf", "arith.subf", "arith.mulf", "arith.maximumf", "arith.minimumf", "arith.maxnumf"]
    lines, values = [], ["%g", "%u", "%half", "%one"]

    def emit(text, of="tensor<?x96xf32>"):
        name = f"%r{len(lines)}"
        lines.append(f"  {name} = {text} : {of}")
        return name

    for _ in range(draw.randint(4, 12)):
        a, b = draw.choice(values), draw.choice(values)
        kind = draw.randrange(5)
        if kind == 0:
            value = emit(f"{draw.choice(binary)} {a}, {b}")
        elif kind == 1:  # sqrt(1 + a^2), log of it
            square = emit(f"arith.mulf {a}, {a}")
            above = emit(f"arith.addf {square}, %one")
            value = emit(f"{draw.choice(['math.sqrt', 'math.log', 'math.rsqrt'])} {above}")
        elif kind == 2:  # a where a > b, else b
            above = emit(f"arith.cmpf ogt, {a}, {b}")
            value = emit(f"arith.select {above}, {a}, {b}", "tensor<?x96xi1>, tensor<?x96xf32>")
        elif kind == 3:  # e^-|a|
            size = emit(f"math.absf {a}")
            value = emit("math.exp " + emit(f"arith.negf {size}"))
        else:
            value = emit(f"{draw.choice(unary)} {a}")
        values.append(emit(f"math.tanh {value}"))
    last = emit(f"arith.mulf {values[-1]}, {values[-2]}")
    return "\n".join(lines) + f"\n  %ga = arith.addf {last}, {values[4]} : tensor<?x96xf32>"


def write_weights(path):
    draw = random.Random(7)
    header, data = {}, b""
    for name, shape in SHAPES.items():
        scale = 1 / math.sqrt(shape[-1]) if len(shape) > 1 else 1
        values = [draw.uniform(-1.7, 1.7) * scale for _ in range(math.prod(shape))]
        blob = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(blob)]}
        data += blob
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read_npy(path):
    with open(path, "rb") as file:
        content = file.read()
    start = 10 + struct.unpack_from("<H", content, 8)[0]
    return struct.unpack_from(f"<{(len(content) - start) // 4}f", content, start)


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
@unittest.skipUnless(platform.machine() == "x86_64", "runs x86-64 code")
class Code(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="mlc-code-")
        self.addCleanup(temporary.cleanup)
        self.at = lambda name: os.path.join(temporary.name, name)
        write_weights(self.at("weights.safetensors"))
        self.flags = set()
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("flags"):
                    self.flags = set(line.split(":", 1)[1].split())
                    break

    def mlc(self, *arguments, ok=True):
        done = subprocess.run([MLC, *arguments], capture_output=True, text=True, timeout=120)
        if ok:
            self.assertEqual(done.returncode, 0, done.stderr)
        else:
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done

    def compile(self, activation, name, *options, ok=True):
        source, artifact = self.at(name + ".mlir"), self.at(name + ".mlca")
        with open(source, "w") as file:
            file.write(graph(activation))
        done = self.mlc("compile", source, "--weights", self.at("weights.safetensors"), "-o", artifact, *options, ok=ok)
        return artifact if ok else done.stderr

    def logits(self, artifact):
        self.mlc("run", artifact, "--tokens", ",".join(map(str, TOKENS)), "--max-tokens", "3", "--logits",
                 self.at("logits.npy"))
        return read_npy(self.at("logits.npy"))

    def levels(self):
        yield "x86-64-v2"
        if {"avx2", "fma", "bmi2"} <= self.flags:
            yield "x86-64-v3"
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= self.flags:
            yield "x86-64-v4"

    def test_equals_the_kernel_at_every_level(self):
        expected = self.logits(self.compile(KERNEL, "kernel"))
        self.assertGreater(max(map(abs, expected)), 0.1)
        for form, activation in (("exp", EXPONENTIAL), ("tanh", TANH), ("sqrt", SQUARE_ROOT)):
            for level in self.levels():
                with self.subTest(form=form, level=level):
                    got = self.logits(self.compile(activation, f"{form}-{level}", "--cpu", level))
                    self.assertEqual(len(got), len(expected))
                    self.assertLess(max(abs(a - b) for a, b in zip(got, expected)), 1e-5)

    def test_random_regions_equal_the_interpreter(self):
        for seed in range(8):
            with self.subTest(seed=seed):
                activation = random_activation(random.Random(seed))
                got = self.logits(self.compile(activation, f"random-{seed}"))
                self.mlc("interpret", self.at(f"random-{seed}.mlir"), "--weights", self.at("weights.safetensors"),
                         "--tokens", ",".join(map(str, TOKENS)), "--max-tokens", "3", "--logits", self.at("oracle.npy"))
                expected = read_npy(self.at("oracle.npy"))
                self.assertEqual(len(got), len(expected))
                self.assertLess(max(abs(a - b) for a, b in zip(got, expected)), 1e-4, activation)

    def test_inspect_says_what_is_inside(self):
        data = json.loads(self.mlc("inspect", "--json", self.compile(KERNEL, "kernel")).stdout)
        code = json.loads(self.mlc("inspect", "--json", self.compile(EXPONENTIAL, "code")).stdout)
        self.assertFalse(data["code"])
        self.assertTrue(code["code"])
        self.assertEqual([variant["isa"] for variant in code["codes"][0]["variants"]],
                         ["x86-64-v2", "x86-64-v3", "x86-64-v4"])

    def test_same_bytes_every_time(self):
        with open(self.compile(EXPONENTIAL, "code"), "rb") as first:
            former = first.read()
        with open(self.compile(EXPONENTIAL, "code"), "rb") as second:
            self.assertEqual(former, second.read())

    def test_refusals(self):
        self.assertIn("--code auto", self.compile(EXPONENTIAL, "none", "--code", "none", ok=False))
        artifact = self.compile(EXPONENTIAL, "code")
        refused = self.mlc("run", artifact, "--no-code", "--tokens", "1", ok=False).stderr
        self.assertIn("code objects", refused)
        wide = EXPONENTIAL.replace("%e = math.exp %neg : tensor<?x96xf32>", """%wide = arith.extf %neg : tensor<?x96xf32> to tensor<?x96xf64>
  %root = math.cbrt %wide : tensor<?x96xf64>
  %e = arith.truncf %root : tensor<?x96xf64> to tensor<?x96xf32>""")
        self.assertIn("'math.cbrt'", self.compile(wide, "root", ok=False))
        other = self.compile(EXPONENTIAL, "other", "--triple", "aarch64-linux-gnu")
        self.assertIn("aarch64", self.mlc("run", other, "--tokens", "1", ok=False).stderr)


# Runs a blob on 3 rows of 37 columns, x = (i - 55) / 8, and writes what it made.
DRIVER = """
asm(".text\\n.balign 64\\nblob:\\n.incbin \\"BLOB\\"\\n.balign 4\\n");
extern int blob(void *const *, const long *, long, long);
static float x[111], y[111];
static long call(long number, long a, const void *b, long c) {
  register long x8 asm("x8") = number, x0 asm("x0") = a, x2 asm("x2") = c;
  register const void *x1 asm("x1") = b;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  return x0;
}
void _start(void) {
  for (int i = 0; i < 111; ++i)
    x[i] = (i - 55) / 8.0f;
  void *const buffers[] = {x, y};
  const long dims[] = {37, 37, 37};
  int status = blob(buffers, dims, 0, 3);
  call(64, 1, y, sizeof y);
  call(93, status, 0, 0);
}
"""
VECTOR = """
graph.model "net" {vocab_size = 1 : i64, trained_context = 128 : i64}
func.func @f(%x: tensor<37xf32>) -> tensor<37xf32> {
  %one = arith.constant dense<1.0> : tensor<37xf32>
  %m = arith.negf %x : tensor<37xf32>
  %e = math.exp %m : tensor<37xf32>
  %d = arith.addf %e, %one : tensor<37xf32>
  %s = arith.divf %x, %d : tensor<37xf32>
  return %s : tensor<37xf32>
}
"""
CLANG = shutil.which("clang-19") or shutil.which("clang")
LLD = shutil.which("ld.lld-19") or shutil.which("ld.lld")
QEMU = shutil.which("qemu-aarch64")


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
@unittest.skipUnless(CLANG and LLD and QEMU, "needs clang, lld and qemu-aarch64")
class CrossCode(unittest.TestCase):
    def test_aarch64_under_emulation(self):
        with tempfile.TemporaryDirectory(prefix="mlc-code-") as temporary:
            at = lambda name: os.path.join(temporary, name)
            with open(at("f.mlir"), "w") as file:
                file.write(VECTOR)
            subprocess.run([MLC, "compile", at("f.mlir"), "-o", at("f.mlca"), "--triple", "aarch64-linux-gnu"],
                           check=True, timeout=120)
            facts = json.loads(subprocess.run([MLC, "inspect", "--json", at("f.mlca")], check=True, timeout=60,
                                              capture_output=True, text=True).stdout)
            variant = facts["codes"][0]["variants"][0]
            start = facts["segments"][variant["segment"]]["offset"] + variant["entry"]
            with open(at("f.mlca"), "rb") as file, open(at("blob.bin"), "wb") as blob:
                blob.write(file.read()[start:start + variant["size"]])
            with open(at("driver.c"), "w") as file:
                file.write(DRIVER.replace("BLOB", at("blob.bin")))
            subprocess.run([CLANG, "--target=aarch64-linux-gnu", "-O1", "-ffreestanding", "-nostdlib", "-static",
                            f"--ld-path={LLD}", "-o", at("driver"), at("driver.c")], check=True, timeout=60)
            got = struct.unpack("<111f", subprocess.run([QEMU, at("driver")], check=True, timeout=60,
                                                        capture_output=True).stdout)
            for i, value in enumerate(got):
                x = (i - 55) / 8
                self.assertAlmostEqual(value, x / (1 + math.exp(-x)), delta=1e-6 * max(1, abs(x)))


if __name__ == "__main__":
    unittest.main()
