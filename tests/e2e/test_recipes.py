# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The recipes of models/: the tokenizer's trainer against the recorded merges of another one, growth that changes
nothing, chimera-nano as it is shipped, and moe-lab's figures of routers."""
import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS, ORACLES = os.path.join(ROOT, "models"), os.path.join(ROOT, "tests", "oracles")
NANO, SHAKESPEARE = os.path.join(MODELS, "chimera-nano"), os.path.join(MODELS, "shakespeare")
sys.path[:0] = [os.path.join(MODELS, "common"), NANO, os.path.join(MODELS, "moe-lab")]
try:
    import numpy as np
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")
import bpe  # noqa: E402
try:
    import torch
    import report
    import routing
    import training
    from layers import Llama, Mixture, Rounding
except ImportError as error:
    TORCH = f"{error}; the recipes need it"
else:
    TORCH = None

MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin", "mlc")
PROMPT = "ROMEO:\nWhat light through yonder window breaks?"


def read(name):
    with open(os.path.join(NANO, name), encoding="utf-8", newline="") as f:
        return f.read()


def mlc(*arguments):
    done = subprocess.run([MLC, *arguments], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise AssertionError(f"mlc {arguments[0]}: {done.stderr}")
    return done.stdout


class Tokenizer(unittest.TestCase):
    def test_merges_of_another_trainer(self):
        with open(os.path.join(ORACLES, "bpe", "merges.json"), encoding="utf-8") as f:
            recorded = json.load(f)
        merges, ids = bpe.train([read("validation-hi.txt"), read("validation-en.txt")], recorded["vocabulary"])
        self.assertEqual(len(ids), recorded["vocabulary"])
        for i, (ours, theirs) in enumerate(zip(merges, recorded["merges"])):
            self.assertEqual(" ".join(ours), theirs, f"merge {i}")
        self.assertEqual(len(merges), len(recorded["merges"]))

    def test_words_of_hindi(self):
        tokenizer, text = bpe.Tokenizer(os.path.join(NANO, "tokenizer.json")), read("validation-hi.txt")
        tokens = tokenizer.encode(text)
        self.assertEqual(tokenizer.decode(tokens), text)
        self.assertLess(len(tokens) / len(text.split()), 2.7)


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Growth(unittest.TestCase):
    """The shipped model, grown to twice its width: the function is the same."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="mlc-growth-")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.grown = os.path.join(cls.temporary.name, "grown")
        cls.grow("--hidden", "512")

    @classmethod
    def grow(cls, *options):
        return subprocess.run([sys.executable, os.path.join(MODELS, "grow.py"), SHAKESPEARE, cls.grown, "--intermediate", "768",
                               "--layers", "5", "--heads", "8", "--kv-heads", "2", "--vocabulary", "2000", *options],
                              capture_output=True, text=True, timeout=120)

    def artifact(self, source, quant):
        out = os.path.join(self.temporary.name, f"{os.path.basename(source)}-{quant}.mlca")
        if not os.path.exists(out):
            mlc("compile", source, "-o", out, "--quant", quant)
        return out

    def logits(self, source, quant):
        """[positions, vocabulary] and the tokens after the prompt."""
        out = os.path.join(self.temporary.name, "logits.npy")
        answer = json.loads(mlc("run", self.artifact(source, quant), "--prompt", PROMPT, "--max-tokens", "60", "--logits", out,
                                "--json"))
        return np.load(out).astype(np.float64), answer["tokens"]

    def test_logits_and_padded_ids(self):
        ours, tokens = self.logits(SHAKESPEARE, "none")
        grown, grown_tokens = self.logits(self.grown, "none")
        self.assertEqual(grown_tokens, tokens)
        real, padded = grown[:, :ours.shape[1]], grown[:, ours.shape[1]:]
        self.assertEqual(padded.shape[1], 2000 - ours.shape[1])
        self.assertLessEqual(np.abs(real - ours).max(), 1e-5 * np.abs(ours).max())
        self.assertLess((np.exp(padded - grown.max(-1, keepdims=True))).sum(-1).max(), 1e-9)

    def test_quantized_it_is_the_quantized_source(self):
        text = os.path.join(self.temporary.name, "text.txt")
        with open(os.path.join(SHAKESPEARE, "validation.txt"), encoding="utf-8") as f, open(text, "w", encoding="utf-8") as out:
            out.write(f.read()[:6000])
        # Not bitwise: an activation that lies between two integers may go to the other one.
        nll = [json.loads(mlc("perplexity", self.artifact(s, "int4"), "--file", text, "--json"))["nll"]
               for s in (SHAKESPEARE, self.grown)]
        self.assertAlmostEqual(nll[0], nll[1], delta=2e-3)

    def test_a_draft_of_the_same_tokens(self):
        """Grown and not, they have the same vocabulary: all drafts stay."""
        words = ["--prompt", PROMPT, "--max-tokens", "60", "--draft-tokens", "4", "--json", "--draft"]
        answer = json.loads(mlc("run", self.artifact(self.grown, "none"), *words, self.artifact(SHAKESPEARE, "none")))
        self.assertEqual(answer["speculation"]["accepted"], answer["speculation"]["drafted"])

    def test_no_room_for_the_constant(self):
        for options, complaint in ((["--hidden", "320"], "--hidden 320"), (["--hidden", "512", "--heads", "2"], "--heads 2"),
                                   (["--hidden", "512", "--layers", "3"], "--layers 3")):
            with self.subTest(options):
                done = self.grow(*options)
                self.assertEqual(done.returncode, 1)
                self.assertIn(complaint, done.stderr)


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
@unittest.skipUnless(os.path.exists(os.path.join(NANO, "config.json")), "models/chimera-nano holds no weights; its README says how to train")
class ChimeraNano(unittest.TestCase):
    TEXT = {"hi": 24000, "en": 24000}  # characters of the held-out texts that are measured

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="mlc-nano-")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.of = {quant: os.path.join(cls.temporary.name, quant + ".mlca") for quant in ("none", "int4")}
        for quant, path in cls.of.items():
            mlc("compile", NANO, "-o", path, "--quant", quant, "--context", "512")

    def test_int4_beside_floats(self):
        for language, size in self.TEXT.items():
            path = os.path.join(self.temporary.name, language)
            with open(path, "w", encoding="utf-8") as f:
                f.write(read(f"validation-{language}.txt")[:size])
            nll = {q: json.loads(mlc("perplexity", a, "--file", path, "--json"))["nll"] for q, a in self.of.items()}
            with self.subTest(language, nll=nll):
                self.assertLessEqual(math.exp(nll["int4"] - nll["none"]), 1.04)

    def test_both_scripts_go_on(self):
        for prompt, script in (("The city of", lambda c: c.isascii()), ("भारत में", lambda c: "\u0900" <= c <= "\u097f")):
            for quant, artifact in self.of.items():
                text = mlc("run", artifact, "--prompt", prompt, "--max-tokens", "60", "--temperature", "0.7", "--seed", "1")
                letters = [c for c in text if c.isalpha() or "\u0900" <= c <= "\u097f"]
                with self.subTest(prompt, quant=quant, text=text):
                    self.assertGreater(len(letters), 40)
                    self.assertGreater(sum(map(script, letters)), 0.9 * len(letters))
                    self.assertGreater(len(set(text.split())), 8)

    def test_as_gguf(self):
        path, artifact = os.path.join(self.temporary.name, "nano.gguf"), os.path.join(self.temporary.name, "gguf.mlca")
        subprocess.run([sys.executable, os.path.join(NANO, "to_gguf.py"), path], check=True, timeout=120)
        mlc("compile", path, "-o", artifact, "--quant", "none", "--context", "512")
        words = ["--prompt", read("validation-hi.txt")[:300], "--max-tokens", "100", "--json"]
        self.assertEqual(*(json.loads(mlc("run", a, *words))["tokens"] for a in (self.of["none"], artifact)))


@unittest.skipIf(TORCH, TORCH)
class MoeLab(unittest.TestCase):
    def test_undecided_router(self):
        """All logits 0: what tests/e2e/test_router_stats.py expects of the runtime."""
        measured = routing.measure(torch.zeros(40, 6), torch.tensor([[0, 1]]).expand(40, 2))
        expected = dict(routing_entropy=1, load_entropy=math.log(2) / math.log(6), max_load=3, dead_experts=4, balance=1,
                        mean_squared_logsumexp=math.log(6) ** 2)
        for name, value in routing.figures([measured, measured]).items():
            self.assertAlmostEqual(value, expected[name], places=5, msg=name)

    def test_alarm(self):
        """Certain routers: no alarm while all tokens take the same experts; one when they part."""
        watch, certain = routing.Watch(0.3), 20 * torch.eye(6).repeat(4, 1)
        watch.add([(certain[:1].expand(24, 6), torch.tensor([[0, 0]]).expand(24, 2))])
        self.assertEqual((watch.alarm, watch.standing), (0, False))
        for _ in range(2):
            watch.add([(certain, certain.topk(2).indices)])
        self.assertEqual((watch.alarm, watch.standing), (2, True))
        for _ in range(routing.WINDOW):
            watch.add([(0 * certain, certain.topk(2).indices)])
        self.assertEqual((watch.alarm, watch.standing), (2, False))

    def test_specialisation(self):
        self.assertAlmostEqual(routing.specialisation(torch.tensor([[8, 0, 0], [0, 4, 0]])), 1)
        self.assertAlmostEqual(routing.specialisation(torch.tensor([[2, 4, 2], [1, 2, 1]])), 0)

    def test_mixture_is_the_sum_of_its_experts(self):
        torch.manual_seed(1)
        mixture = Mixture(dict(hidden_size=8, intermediate_size=12, num_local_experts=5, num_experts_per_tok=2), Rounding())
        x = torch.randn(2, 7, 8)
        likely, chosen = mixture.gate(x).softmax(-1).topk(2)
        every = torch.stack([expert(x) for expert in mixture.experts], -2)
        picked = every.gather(-2, chosen[..., None].expand(*chosen.shape, 8))
        expected = (picked * (likely / likely.sum(-1, keepdim=True))[..., None]).sum(-2)
        torch.testing.assert_close(mixture(x), expected)

    def test_rise(self):
        log = lambda *losses: [dict(step=10 * (i + 1), validation=v) for i, v in enumerate(losses)]
        self.assertEqual(report.rise(log(3, 2, 2.01, 2.1, 2.2)), 40)
        self.assertIsNone(report.rise(log(3, 2, 2.1, 2.01, 2.2, 1.9)))
        self.assertAlmostEqual(report.equal_width(1.5, [(1, 2.0), (2, 1.6), (4, 1.4)]), 2 * 2 ** 0.5)


@unittest.skipIf(TORCH, TORCH)
class Training(unittest.TestCase):
    def fit(self, work, stop=None):
        """The weights after eight steps; before the step `stop` the run is ended by an exception."""
        arguments = type("Options", (), dict(seed=1, steps=8, lr=1e-2, weight_decay=0.1, dropout=0.2, decay=0.5, rounded=0.5,
                                             evaluate_every=2, work=work))
        torch.manual_seed(1)
        model = Llama(dict(hidden_size=128, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2,
                           num_key_value_heads=1, head_dim=64, vocab_size=32, max_position_embeddings=16, rms_norm_eps=1e-5,
                           rope_theta=10000.0))
        tokens = torch.arange(200) % 31 + 1

        def draw(step, generator):
            if step == stop:
                raise InterruptedError
            return training.windows(tokens, torch.tensor([0, 31]), 2, 15, generator)

        with contextlib.redirect_stdout(io.StringIO()):
            training.fit(model, draw, lambda m: [training.nll(m, tokens, 16)], arguments)
        return model.state_dict()

    def test_a_resumed_run_is_the_run(self):
        with tempfile.TemporaryDirectory(prefix="mlc-training-") as work:
            whole = self.fit(None)
            with self.assertRaises(InterruptedError):
                self.fit(work, stop=5)
            resumed = self.fit(work)
        for name, value in whole.items():
            self.assertTrue(torch.equal(value, resumed[name]), name)


if __name__ == "__main__":
    unittest.main()
