# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""--calibrate on the shipped model and on mixtures: the importances against numpy, and no harm done."""
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

try:
    import numpy as np
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "shakespeare")
MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin", "mlc")
WINDOW = 512


def mlc(*arguments):
    return subprocess.run([MLC, *arguments], check=True, timeout=300, capture_output=True, text=True).stdout


def tensors():
    """The checkpoint's bfloat16 tensors as float32, by name."""
    result = {}
    for name in sorted(f for f in os.listdir(MODEL) if f.endswith(".safetensors")):
        with open(os.path.join(MODEL, name), "rb") as f:
            data = f.read()
        size, = struct.unpack_from("<Q", data)
        for tensor, info in json.loads(data[8:8 + size]).items():
            if tensor != "__metadata__":
                begin, end = (8 + size + at for at in info["data_offsets"])
                values = np.frombuffer(data[begin:end], "<u2").astype(np.uint32) << 16
                result[tensor] = values.view(np.float32).reshape(info["shape"])
    return result


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Calibrate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="mlc-calibrate-")
        cls.addClassCleanup(cls.folder.cleanup)
        with open(os.path.join(MODEL, "validation.txt"), encoding="utf-8") as f:
            text = f.read()
        # One half shows what matters, the other is measured.
        middle = text.index("\n\n", len(text) // 2)
        cls.shown, cls.held = cls.path("shown.txt"), cls.path("held.txt")
        for path, part in ((cls.shown, text[:middle]), (cls.held, text[middle:])):
            with open(path, "w", encoding="utf-8") as f:
                f.write(part)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def test_importance_is_the_mean_square_of_the_inputs(self):
        graph = self.path("graph.mlir")
        mlc("compile", MODEL, "--emit", "graph", "--quant", "int4", "--calibrate", self.shown, "-o", graph)
        with open(graph) as f:
            found = dict(re.findall(r"graph.weight @(\S+) .*importance = array<f32: ([^>]*)>", f.read()))
        self.assertEqual(len(found), 4 * 7 + 1)
        ids = json.loads(mlc("tokenize", MODEL, "--file", self.shown, "--no-special", "--json"))["tokens"]
        fed = []
        for begin in range(0, len(ids), WINDOW - 1):
            fed += [0, *ids[begin:begin + WINDOW - 1]]
        weights = tensors()
        # What the first layer's products read follows from the ids alone.
        x = weights["model.embed_tokens.weight"][fed].astype(np.float64)
        x *= weights["model.layers.0.input_layernorm.weight"] / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        for name in "q_proj", "k_proj", "v_proj":
            got = np.array(found[f"model.layers.0.self_attn.{name}.weight"].split(","), np.float64)
            np.testing.assert_allclose(got, (x * x).mean(0), rtol=1e-4)

    def test_it_does_no_harm_on_other_text(self):
        reference = self.path("f32.mlca")
        mlc("compile", MODEL, "-o", reference, "--quant", "none")
        divergence = {}
        for name, options in ("plain", []), ("calibrated", ["--calibrate", self.shown]):
            artifact = self.path(name + ".mlca")
            mlc("compile", MODEL, "-o", artifact, "--quant", "int4", *options)
            result = json.loads(mlc("perplexity", artifact, "--file", self.held, "--against", reference, "--json"))
            divergence[name] = result["mean_kl"]
        print({name: round(value, 5) for name, value in divergence.items()})
        # At this size equally good roundings scatter by as much as calibration gains (docs/experiments).
        self.assertLess(divergence["calibrated"], 1.03 * divergence["plain"])

    EXPERTS, CHOSEN, HIDDEN = 5, 2, 64

    def mixture(self, kind):
        """Two layers, equal ones, whose attention adds nothing, so that the first one's experts read what follows from
        the ids; no token chooses the last expert. The folder, and weights: embedding, gate, [expert] w1, w3, w2."""
        random = np.random.default_rng(7)
        embedding = tensors()["model.embed_tokens.weight"].copy()
        embedding[:, 0] = 1
        width = embedding.shape[1]
        gate = random.normal(size=(self.EXPERTS, width)) * 0.3
        gate[-1, 0] = -100
        w1, w3 = random.normal(size=(2, self.EXPERTS, self.HIDDEN, width)) / 16
        w2 = random.normal(size=(self.EXPERTS, width, self.HIDDEN)) / 8
        parts = {"model.embed_tokens.weight": embedding, "model.norm.weight": np.ones(width)}
        for layer in "model.layers.0.", "model.layers.1.":
            parts |= {layer + norm + "_layernorm.weight": np.ones(width) for norm in ("input", "post_attention")}
            parts |= {f"{layer}self_attn.{name}_proj.weight": np.zeros((64, width)) for name in "qkv"}
            parts[layer + "self_attn.o_proj.weight"] = np.zeros((width, 64))
            moe = layer + "block_sparse_moe."
            if kind == "mixtral":
                parts[moe + "gate.weight"] = gate
                for name, weights in ("w1", w1), ("w3", w3), ("w2", w2):
                    parts |= {f"{moe}experts.{e}.{name}.weight": weight for e, weight in enumerate(weights)}
            else:
                parts |= {moe + "router.layer.weight": gate, moe + "input_linear.weight": np.concatenate([w1, w3], 1),
                          moe + "output_linear.weight": w2}
        folder = self.path(kind)
        os.makedirs(folder)
        for name in "tokenizer.json", "tokenizer_config.json":
            shutil.copy(os.path.join(MODEL, name), folder)
        with open(os.path.join(MODEL, "config.json")) as f:
            config = json.load(f)
        config |= dict(model_type=kind, num_hidden_layers=2, num_attention_heads=1, num_key_value_heads=1,
                       intermediate_size=self.HIDDEN, num_local_experts=self.EXPERTS, num_experts_per_tok=self.CHOSEN,
                       dtype="float32", architectures=[dict(mixtral="Mixtral", granitemoe="GraniteMoe")[kind] + "ForCausalLM"])
        if kind == "granitemoe":
            config |= dict(embedding_multiplier=1.0, residual_multiplier=1.0, attention_multiplier=0.125, logits_scaling=1.0)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f)
        header, data = {}, b""
        for name, value in parts.items():
            value = np.ascontiguousarray(value, np.float32)
            header[name] = dict(dtype="F32", shape=value.shape, data_offsets=(len(data), len(data) + value.nbytes))
            data += value.tobytes()
        text = json.dumps(header).encode()
        with open(os.path.join(folder, "model.safetensors"), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + data)
        return folder, embedding, gate, w1, w3, w2

    def test_every_expert_has_its_own_importance(self):
        ids = json.loads(mlc("tokenize", MODEL, "--file", self.shown, "--no-special", "--json"))["tokens"]
        fed = []
        for begin in range(0, len(ids), WINDOW - 1):
            fed += [0, *ids[begin:begin + WINDOW - 1]]
        for kind in "mixtral", "granitemoe":
            folder, embedding, gate, w1, w3, w2 = self.mixture(kind)
            x = embedding[fed].astype(np.float64)
            x /= np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
            chosen = np.argsort(-(x @ gate.T), axis=1)[:, :self.CHOSEN]
            read, hidden = np.ones((self.EXPERTS, x.shape[1])), np.ones((self.EXPERTS, self.HIDDEN))
            for e in range(self.EXPERTS - 1):
                rows = x[(chosen == e).any(1)]
                self.assertGreater(len(rows), 100)
                a = rows @ w1[e].T
                h = a / (1 + np.exp(-a)) * (rows @ w3[e].T)
                read[e], hidden[e] = (rows * rows).mean(0), (h * h).mean(0)
            self.assertFalse((chosen == self.EXPERTS - 1).any())
            graph = self.path(kind + ".mlir")
            options = ["--quant", "int4", "--group", "32", "--calibrate", self.shown]
            mlc("compile", folder, "--emit", "graph", *options, "-o", graph)
            with open(graph) as f:
                found = {name: np.array(values.split(","), np.float64) for name, values in
                         re.findall(r"graph.weight @(\S+) .*importance = array<f32: ([^>]*)>", f.read())}
            moe = "model.layers.0.block_sparse_moe."
            if kind == "mixtral":
                last = f"{moe}experts.{self.EXPERTS - 1}."
                self.assertFalse(any(name.startswith(last) for name in found))
                of = lambda name: np.stack([found.get(f"{moe}experts.{e}.{name}.weight", np.ones(self.HIDDEN if name == "w2" else x.shape[1]))
                                            for e in range(self.EXPERTS)])
                cases = (of("w1"), read), (of("w3"), read), (of("w2"), hidden)
            else:
                cases = ((found[moe + "input_linear.weight"].reshape(read.shape), read),
                         (found[moe + "output_linear.weight"].reshape(hidden.shape), hidden))
            for got, want in cases:
                # A token whose two best logits are nearly equal may go elsewhere.
                np.testing.assert_allclose(got, want, rtol=2e-3, err_msg=kind)
            # The interpreter packs every expert as the artifact does.
            artifact = self.path(kind + ".mlca")
            mlc("compile", folder, *options, "-o", artifact)
            tokens = ["--tokens", "0,5,9,100,200,3,77,500", "--max-tokens", "1", "--logits"]
            mlc("run", artifact, *tokens, self.path("run.npy"))
            mlc("interpret", folder, "--after-transforms", *options, *tokens, self.path("interpreted.npy"))
            run, interpreted = np.load(self.path("run.npy")), np.load(self.path("interpreted.npy"))
            self.assertLess(np.abs(run - interpreted).max(), 2e-4 * np.abs(interpreted).max())
            mlc("compile", folder, *options[:-2], "-o", self.path("plain.mlca"))
            mlc("run", self.path("plain.mlca"), *tokens, self.path("run.npy"))
            self.assertGreater(np.abs(run - np.load(self.path("run.npy"))).max(), 1e-3 * np.abs(run).max())


if __name__ == "__main__":
    unittest.main()
