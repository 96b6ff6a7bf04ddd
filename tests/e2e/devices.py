# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Compiled here, run there: the shipped model and compiled regions on every device that the presets build for, under
emulation, against this machine. Runs with `run.py --devices`; a device whose mlc-run is not built is skipped."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_code
import test_networks
import test_xnnpack
import voice
from onnx_writer import graph, model, node, tensor, value
try:
    import numpy as np
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

ROOT = test_code.ROOT
MLC = test_code.MLC
MODEL = os.path.join(ROOT, "models", "shakespeare")
PROMPT = "ROMEO:\nWhat light through yonder window"
NEW_TOKENS = 24
FLOAT_BOUND = 1e-4  # of the largest logit
KL_BOUND = 1e-4
# Rounding has no instruction on armv7.
ROUNDING = """
  %r0 = math.floor %g : tensor<?x96xf32>
  %r1 = math.ceil %g : tensor<?x96xf32>
  %r2 = math.trunc %g : tensor<?x96xf32>
  %big = arith.mulf %g, %log2e : tensor<?x96xf32>
  %r3 = math.roundeven %big : tensor<?x96xf32>
  %r4 = math.round %big : tensor<?x96xf32>
  %s0 = arith.addf %r0, %r1 : tensor<?x96xf32>
  %s1 = arith.subf %s0, %r2 : tensor<?x96xf32>
  %s2 = arith.addf %s1, %r3 : tensor<?x96xf32>
  %s3 = arith.subf %s2, %r4 : tensor<?x96xf32>
  %ga = math.tanh %s3 : tensor<?x96xf32>"""


def one_line(test, done):
    test.assertEqual(done.returncode, 1, done.stderr)
    test.assertEqual(done.stderr.count("\n"), 1, done.stderr)
    test.assertTrue(done.stderr.startswith("mlc: error: "), done.stderr)
    return done.stderr


def mean_kl(reference, other):
    def log_softmax(rows):
        rows = rows.astype(np.float64) - rows.max(-1, keepdims=True)
        return rows - np.log(np.exp(rows).sum(-1, keepdims=True))
    p, q = log_softmax(reference), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


class Device:
    """The tests of one device; `emulator` runs its programs."""
    triple = preset = emulator = cpu = None
    options = ()  # of the emulator
    levels = ()  # of compiled code, worst first; the last needs `lesser` beside it
    lesser = None  # a CPU of the emulator that lacks the best level
    foreign = "x86_64-linux-gnu"

    @classmethod
    def setUpClass(cls):
        if not os.access(MLC, os.X_OK):
            raise unittest.SkipTest(f"{MLC} is not built")
        qemu = shutil.which(cls.emulator)
        if not qemu:
            raise unittest.SkipTest(f"{cls.emulator} is missing; toolchains/packages.sh installs it")
        programs = [os.path.join(ROOT, f"build-{cls.preset}{form}", "bin", "mlc-run") for form in ("", "-static")]
        cls.programs = [program for program in programs if os.access(program, os.X_OK)]
        if not cls.programs:
            raise unittest.SkipTest(f"{programs[0]} is not built; cmake --preset {cls.preset} and build it")
        root = f"/usr/{cls.triple}"
        cls.emulate = [qemu, *(["-L", root] if os.path.isdir(root) else [])]
        temporary = tempfile.TemporaryDirectory(prefix="mlc-device-")
        cls.addClassCleanup(temporary.cleanup)
        cls.directory = temporary.name
        test_code.write_weights(cls.at("weights.safetensors"))

    @classmethod
    def at(cls, name):
        return os.path.join(cls.directory, name)

    def compile(self, source, name, *options):
        subprocess.run([MLC, "compile", source, "-o", self.at(name), *options], check=True, timeout=120,
                       stderr=subprocess.PIPE)
        return self.at(name)

    def there(self, *arguments, program=None, cpu=None, libraries=False):
        options = ["-cpu", cpu] if cpu else list(self.options)
        if libraries:
            # Those that toolchains/xnnpack.sh unpacked.
            options += ["-E", f"LD_LIBRARY_PATH={ROOT}/build-xnnpack/{self.triple}/usr/lib/{self.triple}"]
        return subprocess.run([*self.emulate, *options, program or self.programs[0], *arguments], capture_output=True,
                              text=True, timeout=120)

    def run_both(self, here, there, *arguments, cpu=None, program=None):
        """(tokens, logits) of this machine and of the device."""
        answers = []
        for side, artifact in (("here", here), ("there", there)):
            logits = self.at(side + ".npy")
            command = [artifact, "--json", "--logits", logits, "--threads", "2", *arguments]
            done = (subprocess.run([MLC, "run", *command], capture_output=True, text=True, timeout=120)
                    if side == "here" else self.there(*command, cpu=cpu, program=program))
            self.assertEqual(done.returncode, 0, done.stderr)
            answers.append((json.loads(done.stdout)["tokens"], np.load(logits)))
        return answers

    def test_a_network_as_here(self):
        rng = np.random.default_rng(9)
        with open(self.at("net.onnx"), "wb") as f:
            f.write(test_networks.speech_like(rng))
        np.save(self.at("x.npy"), rng.standard_normal((5, 1, test_networks.INPUTS, test_networks.WIDTH)).astype(np.float32))
        states = ("--state", "h_out=h,c_out=c")
        here = self.compile(self.at("net.onnx"), "net-here.mlca", *states)
        there = self.compile(self.at("net.onnx"), "net-there.mlca", *states, "--triple", self.triple)
        for program in self.programs:
            for cpu in (None, self.lesser):
                with self.subTest(program=program, cpu=cpu):
                    arguments = ("--input", f"x={self.at('x.npy')}", "--threads", "2", "--output-dir")
                    subprocess.run([MLC, "run", here, *arguments, self.at("out-here")], check=True, capture_output=True,
                                   timeout=60)
                    done = self.there(there, *arguments, self.at("out-there"), program=program, cpu=cpu)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    expected, got = (np.load(self.at(f"out-{side}/y.npy")) for side in ("here", "there"))
                    self.assertEqual(got.shape, (5, 1, 3))
                    np.testing.assert_allclose(got, expected, rtol=1e-4)

    def test_integers_of_64_bits(self):
        """Divisions and casts, which a CPU of 32 bits has no instructions for; products of short integers."""
        rng = np.random.default_rng(5)
        edges = np.array([0, 1, -1, 2**24 + 1, 2**25 + 2, (2**24 + 1) << 30, ((2**24 + 1) << 30) + 1, 2**53 - 1, 2**53 + 1,
                          2**63 - 1, -2**63, -2**53 - 1, 2**32, -2**32 + 1, 2**31, -2**31], np.int64)
        x = np.concatenate([edges, rng.integers(-2**63, 2**63 - 1, 40), rng.integers(-2**40, 2**40, 40)])
        y = np.concatenate([np.array([3, -7, 2**32, 2**31, 10**12, -10**12], np.int64), rng.integers(1, 2**36, x.size - 6)])
        f = np.concatenate([np.float32([0, -0.5, 0.999, -1.5, 2**31, -2**31, 2**40 + 2**20, -2**62, 2**63 - 2**39]),
                            (rng.standard_normal(40) * 1e12).astype(np.float32)])
        a, w = rng.integers(0, 256, (5, 530)).astype(np.uint8), rng.integers(-128, 128, (530, 19)).astype(np.int8)
        nodes = [node("Cast", ["x"], ["x32"], to=1), node("Cast", ["x"], ["x64"], to=11), node("Cast", ["f"], ["whole"], to=7),
                 node("Cast", ["f"], ["double"], to=11), node("Cast", ["double"], ["again"], to=7),
                 node("Div", ["x", "y"], ["quotient"]), node("Mod", ["x", "y"], ["rest"]),
                 node("Cast", ["x"], ["narrow"], to=6),
                 node("Mod", ["narrow", "odd"], ["rest32"]), node("MatMulInteger", ["a", "w"], ["product"])]
        outputs = {"x32": x.astype(np.float32), "x64": x.astype(np.float64), "whole": f.astype(np.int64),
                   "again": f.astype(np.int64), "rest": np.mod(x, y), "rest32": np.mod(x.astype(np.int32), np.int32(37)),
                   "quotient": np.where((np.mod(x, y) != 0) & ((x < 0) != (y < 0)), x // y + 1, x // y),
                   "product": a.astype(np.int32) @ w.astype(np.int32)}
        given = {"x": x, "y": y, "f": f, "a": a, "odd": np.array([37], np.int32)}
        with open(self.at("wide.onnx"), "wb") as file:
            file.write(model(graph(nodes, [value(n, str(v.dtype), v.shape) for n, v in given.items()],
                                   [value(n, str(v.dtype), v.shape) for n, v in outputs.items()], [tensor("w", w)])))
        artifact = self.compile(self.at("wide.onnx"), "wide.mlca", "--triple", self.triple)
        arguments = ["--output-dir", self.at("wide"), "--json"]
        for name, array in given.items():
            np.save(self.at(name + ".npy"), array)
            arguments += ["--input", f"{name}={self.at(name + '.npy')}"]
        done = self.there(artifact, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = json.loads(done.stdout)["outputs"]
        for name, expected in outputs.items():
            np.testing.assert_array_equal(np.load(got[name]["file"]), expected, err_msg=name)

    def voice_network(self, name, dims, array):
        """What a voice network gives on the device, [runs, ...] of a stream, held to what it gives here."""
        network, data = voice.NETWORKS[name], os.environ["MLC_SHARED_DATA"]
        np.save(self.at("in.npy"), array)
        results = []
        for side, triple in (("here", []), ("there", ["--triple", self.triple])):
            artifact = self.compile(os.path.join(data, network.file), f"{name}-{side}.mlca", *voice.options_of(network, dims),
                                    *(triple or ["--cpu", "native"]))
            arguments = (artifact, "--input", f"{network.input}={self.at('in.npy')}", "--threads", "2", "--json",
                         "--output-dir", self.at(f"voice-{side}"))
            done = (subprocess.run([MLC, "run", *arguments], capture_output=True, text=True, timeout=60) if side == "here"
                    else self.there(*arguments))
            self.assertEqual(done.returncode, 0, done.stderr)
            results.append(np.load(json.loads(done.stdout)["outputs"][network.output]["file"]))
        here, there = results
        self.assertEqual(here.shape, there.shape, name)
        apart = float(np.abs(there - here).max() / np.abs(here).max())
        print(f"{self.preset} {name}: {apart:.1e} of the largest", file=sys.stderr)
        self.assertLessEqual(apart, FLOAT_BOUND, name)
        return there

    def test_voice_networks_as_here(self):
        """Two seconds of speech, and a classifier; with MLC_LONG_TESTS the wake word's chain, most of a minute of emulation."""
        data = os.environ.get("MLC_SHARED_DATA", "")
        if not os.path.exists(os.path.join(data, voice.CLIP)):
            self.skipTest("../shared/data is missing (set MLC_SHARED_DATA)")
        speech = voice.samples(os.path.join(data, voice.SPEECH))[:2 * voice.RATE]
        probabilities = self.voice_network("vad", None, voice.vad_frames(speech))
        self.assertGreater(float(probabilities.max()), 0.9)
        self.voice_network("mel", None, voice.frames(speech, voice.CONTEXT, voice.STEP)[-1:])
        features = np.random.default_rng(9).standard_normal((1, voice.HISTORY, voice.FEATURES)).astype(np.float32)
        self.voice_network("classifier", None, features * 5)
        if os.environ.get("MLC_LONG_TESTS"):
            self.assertGreater(float(voice.clip_at_once(data, self.voice_network).max()), 0.5)

    def test_xnnpack_as_here(self):
        """XNNPACK's kernels: every operator, and silero-vad and openWakeWord's networks where the data is."""
        name = "libmlc-xnnpack.so"
        library = os.path.join(os.path.dirname(self.programs[0]), "..", "lib", name)
        body, inputs = test_xnnpack.every_operator(np.random.default_rng(4))
        with open(self.at("every.onnx"), "wb") as f:
            f.write(body)
        data = os.environ.get("MLC_SHARED_DATA", "")
        networks = [(self.at("every.onnx"), (), inputs)]
        for file, options, shapes in test_xnnpack.STREAMS:
            if os.path.exists(os.path.join(data, file)):
                rng = np.random.default_rng(2)
                networks.append((os.path.join(data, file), options,
                                 {k: (0.3 * rng.standard_normal(v)).astype(np.float32) for k, v in shapes.items()}))
        for source, options, values in networks:
            there = self.compile(source, "x-there.mlca", *options, "--triple", self.triple, "--kernels", "xnnpack")
            arguments = ["--output-dir", self.at("x-out"), "--json"]
            for port, array in values.items():
                np.save(self.at(f"x-{port}.npy"), array)
                arguments += ["--input", f"{port}={self.at(f'x-{port}.npy')}"]
            for program in self.programs:
                with self.subTest(source=os.path.basename(source), program=program):
                    static = "-static" in program
                    if not static and not os.path.exists(library):
                        self.skipTest(f"{library} is not built; toolchains/packages.sh device and build mlc_xnnpack")
                    done = self.there(there, *arguments, "--threads", "2", program=program, libraries=True)
                    if static:
                        self.assertIn(f"of {name}, which a static program cannot load", one_line(self, done))
                        continue
                    self.assertEqual(done.returncode, 0, done.stderr)
                    got = {k: np.load(v["file"]) for k, v in json.loads(done.stdout)["outputs"].items()}
                    here = self.compile(source, "x-here.mlca", *options, "--kernels", "own")
                    done = subprocess.run([MLC, "run", here, *arguments], check=True, capture_output=True, text=True,
                                          timeout=60)
                    for port, file in json.loads(done.stdout)["outputs"].items():
                        expected = np.load(file["file"])
                        apart = np.abs(got[port] - expected).max() / np.abs(expected).max()
                        print(f"{self.preset} {os.path.basename(source)} {port}: {apart:.1e}", file=sys.stderr)
                        self.assertLessEqual(apart, FLOAT_BOUND)

    def test_the_shipped_model_as_here(self):
        for program in self.programs:
            for quant in ("none", "int8", "int4"):
                with self.subTest(program=program, quant=quant):
                    here = self.compile(MODEL, f"{quant}-here.mlca", "--quant", quant)
                    there = self.compile(MODEL, f"{quant}-there.mlca", "--quant", quant, "--triple", self.triple)
                    # What this machine writes, and then the same text through both.
                    prompt = json.loads(subprocess.run([MLC, "tokenize", here, "--text", PROMPT, "--json"], check=True,
                                                       capture_output=True, text=True, timeout=60).stdout)["tokens"]
                    written = json.loads(subprocess.run(
                        [MLC, "run", here, "--prompt", PROMPT, "--max-tokens", str(NEW_TOKENS), "--json"], check=True,
                        capture_output=True, text=True, timeout=60).stdout)["tokens"]
                    (_, expected), (_, logits) = self.run_both(
                        here, there, "--tokens", ",".join(map(str, prompt + written)), "--max-tokens", "1",
                        program=program)
                    self.assertEqual(logits.shape, expected.shape)
                    largest = np.abs(expected).max()
                    apart, kl = float(np.abs(logits - expected).max() / largest), mean_kl(expected, logits)
                    print(f"{self.preset} {quant}: {apart:.1e} of the largest logit, KL {kl:.1e}", file=sys.stderr)
                    if quant == "none":
                        self.assertLessEqual(apart, FLOAT_BOUND)
                    else:
                        self.assertLessEqual(kl, KL_BOUND)
                    # The best token is the same wherever the second best is further away than the two machines are.
                    top = np.sort(expected, -1)
                    clear = top[:, -1] - top[:, -2] > 2 * apart * largest
                    self.assertGreater(clear.mean(), 0.5)
                    self.assertTrue((logits.argmax(-1) == expected.argmax(-1))[clear].all())
                    if quant != "none":
                        continue
                    done = self.there(there, "--prompt", PROMPT, "--max-tokens", str(NEW_TOKENS), "--json",
                                      program=program)
                    self.assertEqual(json.loads(done.stdout)["tokens"], written)

    def test_the_same_bits_on_any_number_of_threads(self):
        artifact = self.compile(MODEL, "threads.mlca", "--quant", "int4", "--triple", self.triple)
        seen = set()
        for threads in ("1", "3"):
            done = self.there(artifact, "--prompt", PROMPT, "--max-tokens", "4", "--threads", threads, "--logits",
                              self.at("threads.npy"))
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(self.at("threads.npy"), "rb") as file:
                seen.add(file.read())
        self.assertEqual(len(seen), 1)

    def test_compiled_regions(self):
        tokens = ",".join(map(str, test_code.TOKENS))
        for name, activation in (("exp", test_code.EXPONENTIAL), ("rounding", ROUNDING)):
            with open(self.at(name + ".mlir"), "w") as file:
                file.write(test_code.graph(activation))
            graph = (self.at(name + ".mlir"), "--weights", self.at("weights.safetensors"))
            here = self.compile(graph[0], name + "-here.mlca", *graph[1:])
            for level in self.levels:
                with self.subTest(name=name, level=level):
                    there = self.compile(graph[0], name + ".mlca", *graph[1:], "--triple", self.triple, "--cpu", level)
                    (_, expected), (_, logits) = self.run_both(here, there, "--tokens", tokens, "--max-tokens", "3")
                    self.assertGreater(np.abs(expected).max(), 0.1)
                    self.assertLess(np.abs(logits - expected).max(), 1e-5)

    def test_what_another_machine_was_meant_for(self):
        artifact = self.compile(MODEL, "foreign.mlca", "--quant", "int4", "--triple", self.foreign)
        line = one_line(self, self.there(artifact, "--prompt", "x"))
        for part in (f"made for '{self.foreign}'", f"this machine is {self.triple}", f"--triple {self.triple}"):
            self.assertIn(part, line)

    def test_a_level_that_the_cpu_lacks(self):
        if not self.lesser:
            self.skipTest(f"{self.triple} has one level of code")
        with open(self.at("level.mlir"), "w") as file:
            file.write(test_code.graph(test_code.EXPONENTIAL))
        artifact = self.compile(self.at("level.mlir"), "level.mlca", "--weights", self.at("weights.safetensors"),
                                "--triple", self.triple, "--cpu", self.best)
        line = one_line(self, self.there(artifact, "--tokens", "1", cpu=self.lesser))
        self.assertIn(f"made for {self.best}, this machine is {self.levels[0]};", line)
        self.assertIn(f"--cpu {self.levels[0]}", line)
        # All levels together run there.
        artifact = self.compile(self.at("level.mlir"), "level.mlca", "--weights", self.at("weights.safetensors"),
                                "--triple", self.triple)
        done = self.there(artifact, "--tokens", "1", "--max-tokens", "2", cpu=self.lesser)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_max_memory(self):
        artifact = self.compile(MODEL, "memory.mlca", "--quant", "int8", "--triple", self.triple)
        line = one_line(self, self.there(artifact, "--prompt", "x", "--max-memory", "4M"))
        for part in ("weights 3.1", "states ", "arena ", "--max-memory 4.0 MiB"):
            self.assertIn(part, line)
        done = self.there(artifact, "--prompt", "x", "--max-tokens", "2", "--max-memory", "40M")
        self.assertEqual(done.returncode, 0, done.stderr)


class Aarch64(Device, unittest.TestCase):
    triple, preset, emulator = "aarch64-linux-gnu", "device-aarch64", "qemu-aarch64"
    levels = ("armv8-a",)


class Armv7(Device, unittest.TestCase):
    triple, preset, emulator = "arm-linux-gnueabihf", "device-armv7", "qemu-arm"
    levels, best, lesser = ("armv7-a", "vfpv4"), "vfpv4", "cortex-a9"

    def test_files_above_the_address_space(self):
        with open(self.at("large.mlca"), "wb") as file:
            file.write(b"MLCA")
            file.truncate(3 << 30)
        line = one_line(self, self.there(self.at("large.mlca"), "--tokens", "1"))
        self.assertIn("3221225472 bytes", line)
        self.assertIn("32-bit", line)


class X86V2(Device, unittest.TestCase):
    triple, preset, emulator = "x86_64-linux-gnu", "device-x86-64-v2", "qemu-x86_64"
    options = ("-cpu", "Nehalem")
    levels, best, lesser = ("x86-64-v2",), "x86-64-v3", "Nehalem"
    foreign = "aarch64-linux-gnu"


if __name__ == "__main__":
    unittest.main()
