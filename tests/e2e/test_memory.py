# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Memory is what the plan says: inspect's figures, --max-memory, a model of 350 MiB of weights inside a memory cgroup of
512 MiB, without swap, and what 65,000 tokens add to 1,000: nothing with recurrent states alone, a hybrid's KV."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin")
MLC, MLC_RUN = os.path.join(BIN, "mlc"), os.path.join(BIN, "mlc-run")
MODEL = os.path.join(ROOT, "models", "shakespeare")
MIB = 1 << 20
CGROUP_BYTES = 512 * MIB

# A llama of 92 M f32 weights and 256 ids.
WIDTH, FFN, LAYERS, VOCABULARY = 1024, 4096, 6, 256
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": FFN,
          "num_hidden_layers": LAYERS, "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": VOCABULARY,
          "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
          "tie_word_embeddings": True, "torch_dtype": "float32"}


def write_checkpoint(folder):
    """Small numbers that repeat, written tensor by tensor."""
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        shapes |= {layer + "input_layernorm.weight": (WIDTH,), layer + "post_attention_layernorm.weight": (WIDTH,),
                   layer + "self_attn.q_proj.weight": (WIDTH, WIDTH), layer + "self_attn.o_proj.weight": (WIDTH, WIDTH),
                   layer + "self_attn.k_proj.weight": (WIDTH // 4, WIDTH),
                   layer + "self_attn.v_proj.weight": (WIDTH // 4, WIDTH),
                   layer + "mlp.gate_proj.weight": (FFN, WIDTH), layer + "mlp.up_proj.weight": (FFN, WIDTH),
                   layer + "mlp.down_proj.weight": (WIDTH, FFN)}
    header, end = {}, 0
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 4 * count]}
        end += 4 * count
    text = json.dumps(header).encode()
    # 4093 is prime, so rows differ.
    pattern = struct.pack("<4093f", *(((i * 2654435761 >> 7) % 2001 - 1000) / 20000 for i in range(4093)))
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for left in range(end, 0, -len(pattern)):
            file.write(pattern[:left])
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(CONFIG, file)


class Cgroup:
    """A memory cgroup of this test's own, version 2 or 1; None in `path` and the reason in `why` without one."""

    def __init__(self, limit):
        self.path, self.why = None, "no memory controller of cgroups is writable here"
        own = dict((line.split(":", 2)[1], line.split(":", 2)[2]) for line in open("/proc/self/cgroup").read().split())
        candidates = [("memory.max", "memory.swap.max", "/sys/fs/cgroup" + own.get("", "")),
                      ("memory.max", "memory.swap.max", "/sys/fs/cgroup"),
                      ("memory.limit_in_bytes", "memory.swappiness", "/sys/fs/cgroup/memory" + own.get("memory", "")),
                      ("memory.limit_in_bytes", "memory.swappiness", "/sys/fs/cgroup/memory")]
        for limit_file, swap_file, parent in candidates:
            path = os.path.join(parent, f"mlc-test-{os.getpid()}")
            try:
                os.mkdir(path)
            except OSError:
                continue
            if not os.path.exists(os.path.join(path, limit_file)):  # A plain folder, or no memory controller.
                os.rmdir(path)
                continue
            try:
                with open(os.path.join(path, limit_file), "w") as file:
                    file.write(str(limit))
                if os.path.exists(os.path.join(path, swap_file)):
                    with open(os.path.join(path, swap_file), "w") as file:
                        file.write("0")
                self.path = path
                return
            except OSError:
                os.rmdir(path)

    def run(self, command):
        def enter():
            with open(os.path.join(self.path, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))
        return subprocess.run(command, capture_output=True, text=True, timeout=180, preexec_fn=enter)

    def peak(self):
        """The most bytes ever charged, or None where the kernel does not say."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            if os.path.exists(os.path.join(self.path, name)):
                with open(os.path.join(self.path, name)) as file:
                    return int(file.read())
        return None

    def remove(self):
        if self.path:
            os.rmdir(self.path)


@unittest.skipUnless(os.access(MLC, os.X_OK) and os.access(MLC_RUN, os.X_OK), f"{MLC} is not built")
class Memory(unittest.TestCase):
    def compile(self, source, *options):
        temporary = tempfile.TemporaryDirectory(prefix="mlc-memory-")
        self.addCleanup(temporary.cleanup)
        artifact = os.path.join(temporary.name, "model.mlca")
        subprocess.run([MLC, "compile", source, "-o", artifact, *options], check=True, timeout=300,
                       stderr=subprocess.PIPE)
        return artifact

    def ram(self, artifact):
        facts = json.loads(subprocess.run([MLC, "inspect", "--json", artifact], check=True, capture_output=True,
                                          text=True, timeout=60).stdout)
        return facts["memory"]["ram"]

    def test_inspect_adds_up_for_every_target(self):
        figures = []
        for triple in ("x86_64-linux-gnu", "aarch64-linux-gnu", "arm-linux-gnueabihf"):
            artifact = self.compile(MODEL, "--quant", "int8", "--sequences", "4", "--triple", triple)
            one, all_of_them = self.ram(artifact)
            self.assertEqual((one["sequences"], all_of_them["sequences"]), (1, 4))
            for ram in (one, all_of_them):
                self.assertEqual(ram["total"], ram["weights"] + ram["states"] + ram["arenas"])
                self.assertEqual(ram["weights"], os.path.getsize(artifact))
            self.assertGreater(all_of_them["states"], 3.5 * one["states"])
            self.assertEqual(all_of_them["arenas"], one["arenas"])
            figures.append((one["states"], one["arenas"]))
            text = subprocess.run([MLC, "inspect", artifact], check=True, capture_output=True, text=True).stdout
            self.assertIn("4 sequences: ", text)
        self.assertEqual(len(set(figures)), 1, figures)

    def test_the_plan_is_the_border(self):
        artifact = self.compile(MODEL, "--quant", "int8")
        total = self.ram(artifact)[0]["total"]
        for program in ([MLC, "run"], [MLC_RUN]):
            command = [*program, artifact, "--prompt", "x", "--max-tokens", "1", "--threads", "1", "--max-memory"]
            self.assertEqual(subprocess.run([*command, str(total)], capture_output=True, timeout=60).returncode, 0)
            done = subprocess.run([*command, str(total - 1)], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
            for part in ("--max-memory", "weights 3.1", "states ", "arena ", "scratch "):
                self.assertIn(part, done.stderr)
        done = subprocess.run([MLC, "bench", artifact, "--max-memory", "1M"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("more than --max-memory 1.0 MiB", done.stderr)

    def test_a_large_model_in_a_small_cgroup(self):
        cgroup = Cgroup(CGROUP_BYTES)
        if not cgroup.path:
            self.skipTest(cgroup.why)
        self.addCleanup(cgroup.remove)
        with tempfile.TemporaryDirectory(prefix="mlc-memory-") as folder:
            write_checkpoint(folder)
            artifact = self.compile(folder, "--quant", "none", "--kv", "f16", "--context", "1024")
        plan = self.ram(artifact)[0]
        self.assertGreater(plan["weights"], 345 * MIB)
        self.assertLess(plan["total"], CGROUP_BYTES)
        prompt = ",".join(str(i % VOCABULARY) for i in range(600))
        run = [MLC_RUN, artifact, "--tokens", prompt, "--max-tokens", "4", "--json", "--threads", "2"]
        free = subprocess.run(run, capture_output=True, text=True, timeout=180)
        self.assertEqual(free.returncode, 0, free.stderr)
        # Out of the page cache, so that the cgroup pays for the weights.
        with open(artifact, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        held = cgroup.run([*run, "--max-memory", "480M"])
        self.assertEqual(held.returncode, 0, held.stderr)
        answer = json.loads(held.stdout)
        self.assertEqual(answer["tokens"], json.loads(free.stdout)["tokens"])
        self.assertLess(answer["peak_rss_bytes"], plan["total"] + 40 * MIB)
        charged = cgroup.peak() or 0
        self.assertLessEqual(charged, CGROUP_BYTES)
        print(f"planned {plan['total'] / MIB:.1f} MiB, peak {answer['peak_rss_bytes'] / MIB:.1f} MiB, charged "
              f"{charged / MIB:.1f} MiB", file=sys.stderr)

    def peak(self, artifact, tokens):
        """Bytes of the process behind a prompt of `tokens` tokens."""
        run = [MLC_RUN, artifact, "--tokens", ",".join(["1"] * tokens), "--max-tokens", "1", "--json", "--threads", "2"]
        return json.loads(subprocess.run(run, check=True, capture_output=True, text=True, timeout=180).stdout)["peak_rss_bytes"]

    def hybrid_of(self, context):
        """chimera-nano, which knows no positions, with a longer context."""
        temporary = tempfile.TemporaryDirectory(prefix="mlc-memory-")
        self.addCleanup(temporary.cleanup)
        source = os.path.join(ROOT, "models", "chimera-nano")
        for file in os.listdir(source):
            if file != "config.json":
                os.symlink(os.path.join(source, file), os.path.join(temporary.name, file))
        with open(os.path.join(source, "config.json")) as file:
            config = json.load(file)
        with open(os.path.join(temporary.name, "config.json"), "w") as file:
            json.dump(config | {"max_position_embeddings": context}, file)
        return temporary.name

    def test_a_long_context_costs_what_its_attention_keeps(self):
        context, few, many = 65536, 1000, 65000
        for name, source, kv in (("mamba2", os.path.join(ROOT, "tests", "oracles", "mamba2"), 0),
                                 # One layer of attention: 2 heads of 64, keys and values of 2 bytes.
                                 ("hybrid", self.hybrid_of(context), 2 * 64 * 2 * 2)):
            artifact = self.compile(source, "--quant", "int8", "--context", str(context), "--sequences", "1")
            grown = self.peak(artifact, many) - self.peak(artifact, few)
            print(f"{name}: {many - few} tokens more take {grown / MIB:.2f} MiB more", file=sys.stderr)
            # The prompt itself and the tables of pages: under 1.5 MiB.
            self.assertLess(abs(grown - kv * (many - few)), 1.5 * MIB)


if __name__ == "__main__":
    unittest.main()
