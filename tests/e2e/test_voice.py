# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""silero-vad and openWakeWord's chain over 60 s of speech, against what onnxruntime gave (tests/oracles/voice, recorded by
voice_streams.py). The networks are not in the tree: without ../shared/data the tests are skipped."""
import ctypes
import json
import os
import subprocess
import tempfile
import unittest

try:
    import numpy as np
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

import libmlc
import voice

BUILD = os.environ["MLC_BUILD_DIR"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("MLC_SHARED_DATA", os.path.join(os.path.dirname(ROOT), "shared", "data"))
RECORD = os.path.join(ROOT, "tests", "oracles", "voice", "streams.json")
# As voice_streams.py has them; of a probability below LEAST_SCORE, of that.
BOUND, LEAST_SCORE, THRESHOLD = 1e-4, 2e-3, 0.5


class Voice(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        needed = [network.file for network in voice.NETWORKS.values()] + [voice.SPEECH, voice.CLIP]
        missing = [name for name in needed if not os.path.exists(os.path.join(DATA, name))]
        if missing:
            raise unittest.SkipTest(f"../shared/data/{missing[0]} is missing (set MLC_SHARED_DATA)")
        with open(RECORD, encoding="utf-8") as f:
            cls.record = json.load(f)
        folder = tempfile.TemporaryDirectory(prefix="mlc-voice-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name

    def compile(self, name):
        network, path = voice.NETWORKS[name], os.path.join(self.folder, name + ".mlca")
        subprocess.run([os.path.join(BUILD, "bin", "mlc"), "compile", os.path.join(DATA, network.file), "-o", path,
                        "--cpu", "native", *voice.options_of(network)], check=True, timeout=120, stderr=subprocess.PIPE)
        return path

    def near(self, got, expected, least, name):
        """Within BOUND of the largest element, as a whole."""
        got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
        self.assertEqual(got.shape, expected.shape, name)
        scale = np.maximum(np.abs(expected), least) if least else np.abs(expected).max()
        self.assertLess(float((np.abs(got - expected) / scale).max()), BOUND, name)

    def test_silero_hears_what_it_heard_in_onnxruntime(self):
        np.save(os.path.join(self.folder, "steps.npy"), voice.vad_frames(voice.samples(os.path.join(DATA, voice.SPEECH))))
        subprocess.run([os.path.join(BUILD, "bin", "mlc"), "run", self.compile("vad"), "--input",
                        f"input={self.folder}/steps.npy", "--output-dir", self.folder], check=True, timeout=120,
                       stdout=subprocess.DEVNULL)
        got = np.load(os.path.join(self.folder, "output.npy"))
        self.assertEqual(got.shape, (1875, 1, 1))
        self.near(got.reshape(-1)[::self.record["every"]["vad"]], self.record["vad"], LEAST_SCORE, "vad")

    def test_the_wake_word_and_speech_without_it(self):
        library = ctypes.CDLL(os.path.join(BUILD, "lib", "libmlc.so"))
        networks = {name: libmlc.function(libmlc.Network(library, self.compile(name)))
                    for name in ("mel", "embedding", "classifier")}
        every, thin, heard, scores = self.record["every"], self.record["thin"], {"mel": [], "embedding": []}, {}
        for part, pcm in (("speech", voice.samples(os.path.join(DATA, voice.SPEECH))), ("clip", voice.clip(DATA))):
            chain, scores[part] = voice.WakeWord(networks), []
            for i, frame in enumerate(voice.frames(pcm, voice.CONTEXT, voice.STEP)):
                *outputs, score = chain.step(frame)
                scores[part].append(score)
                for name, output in zip(heard, outputs):
                    if part == "speech" and i % every[name] == every[name] - 1:
                        heard[name].append(output.reshape(-1)[::thin])
        for name, values in heard.items():
            self.assertEqual(len(values), 3)
            for got, expected in zip(values, self.record[name]):
                self.near(got, expected, 0, name)
        for part, values in scores.items():
            self.near(values[::every[part]], self.record[part], LEAST_SCORE, part)
        self.assertGreater(max(scores["clip"][voice.SILENT_SCORES:]), THRESHOLD)
        self.assertLess(max(scores["speech"][voice.SILENT_SCORES:]), THRESHOLD)


if __name__ == "__main__":
    unittest.main()
