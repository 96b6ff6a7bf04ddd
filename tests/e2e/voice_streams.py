#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Streams 60 s of speech through the voice networks of ../shared/data, as artifacts and in onnxruntime, and compares every
step.

    python3 tests/e2e/voice_streams.py [--build DIR] [--data DIR] [--threads N] [--cpu LIST] [--record FILE.json]

Needs onnxruntime and libmlc.so (target mlc_shared). Each side hears only itself: silero's state and openWakeWord's rows,
embeddings and history are those of the same side, so errors may add up over the stream. silero runs both ways that a user
has, `mlc run` with a declared state and mlc_network_run step by step, which must give the same bits.

A relative error is the largest difference of a step's output over the largest element of that output in onnxruntime; of
scores and probabilities, which are one number, over the number itself, or over 2e-3 where it is less: onnxruntime's Sigmoid
has an absolute error, 1.1e-7 against float64, so a score of 1e-7 is off by half there. The exit status is 1 above 1e-4, when the clip with the wake word
scores 0.5 or less, or speech without it 0.5 or more. --record writes what onnxruntime gave, thinned out, for test_voice.py.
"""
import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

import libmlc
import voice

HERE = os.path.dirname(os.path.abspath(__file__))
BOUND, THRESHOLD, LEAST_SCORE = 1e-4, 0.5, 2e-3
# Every how many steps test_voice.py compares, and every how many elements of the larger outputs.
EVERY, THIN = {"vad": 10, "mel": 250, "embedding": 250, "speech": 10, "clip": 1}, 4


def relative(got, expected, least=0.0):
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), least, 1e-30))


def short(value):
    """Floats with the eight digits that tell an f32."""
    if isinstance(value, list):
        return [short(item) for item in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


class Errors:
    """The relative errors of one network's steps."""

    def __init__(self, name):
        self.name, self.all = name, []

    def line(self):
        return f"| {self.name} | {len(self.all)} | {np.median(self.all):.1e} | {max(self.all):.1e} |"


def open_peer(path):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def single_peer(session):
    name = session.get_inputs()[0].name
    return lambda array: session.run(None, {name: array})[0]


def stream_vad(options, paths, library, record):
    """The probabilities of 60 s, a step of 32 ms each; Errors."""
    steps = voice.vad_frames(voice.samples(os.path.join(options.data, voice.SPEECH)))
    network = libmlc.Network(library, paths["vad"], options.threads)
    session = open_peer(os.path.join(options.data, voice.NETWORKS["vad"].file))
    state, errors = np.zeros((2, 1, 128), np.float32), Errors("silero-vad")
    ours, theirs = [], []
    for frame in steps:
        network.inputs["input"][...] = frame
        network.run()
        ours.append(float(network.outputs["output"][0, 0]))
        expected, state = session.run(None, {"input": frame, "state": state, "sr": np.array(voice.RATE, np.int64)})
        theirs.append(float(expected[0, 0]))
        errors.all.append(relative(np.array(ours[-1]), np.array(theirs[-1]), LEAST_SCORE))
    with tempfile.TemporaryDirectory() as folder:
        np.save(os.path.join(folder, "steps.npy"), steps)
        subprocess.run([os.path.join(options.build, "bin", "mlc"), "run", paths["vad"], "--threads", str(options.threads),
                        "--input", f"input={folder}/steps.npy", "--output-dir", folder], check=True, stdout=subprocess.DEVNULL)
        stream = np.load(os.path.join(folder, "output.npy"))
    if not np.array_equal(stream.reshape(-1), np.array(ours, np.float32)):
        sys.exit("`mlc run` of the whole stream and mlc_network_run step by step differ")
    record["vad"] = theirs[::EVERY["vad"]]
    print(f"silero-vad: {np.mean(np.array(theirs) > THRESHOLD):.0%} of {len(steps)} steps are speech", file=sys.stderr)
    return [errors]


def stream_wake_word(options, paths, library, record):
    """Speech, then the clip, through the chain; Errors of the three networks."""
    names = ("mel", "embedding", "classifier")
    networks = {name: libmlc.Network(library, paths[name], options.threads) for name in names}
    own = {name: libmlc.function(networks[name]) for name in names}
    peer = {name: single_peer(open_peer(os.path.join(options.data, voice.NETWORKS[name].file))) for name in names}
    errors = {name: Errors(f"openWakeWord {name}") for name in names}
    speech = voice.samples(os.path.join(options.data, voice.SPEECH))
    best = {}
    for part, pcm in (("speech", speech), ("clip", voice.clip(options.data))):
        sides, scores = (voice.WakeWord(own), voice.WakeWord(peer)), []
        for i, frame in enumerate(voice.frames(pcm, voice.CONTEXT, voice.STEP)):
            got, expected = (side.step(frame) for side in sides)
            for name, a, b in zip(names, got, expected):
                errors[name].all.append(relative(np.array(a), np.array(b), LEAST_SCORE if name == "classifier" else 0.0))
            scores.append((got[2], expected[2]))
            for name, value in zip(("mel", "embedding"), expected):
                if part == "speech" and i % EVERY[name] == EVERY[name] - 1:
                    record.setdefault(name, []).append([float(x) for x in value.reshape(-1)[::THIN]])
        record[part] = [score for _, score in scores][::EVERY[part]]
        best[part] = [max(side[voice.SILENT_SCORES:]) for side in zip(*scores)]
        print(f"openWakeWord, {part}: highest score {best[part][0]:.6f}, in onnxruntime {best[part][1]:.6f}", file=sys.stderr)
    if best["clip"][0] <= THRESHOLD or best["speech"][0] >= THRESHOLD:
        sys.exit("the wake word is not told from speech")
    return list(errors.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.join(HERE, "..", "..")
    parser.add_argument("--build", default=os.path.join(root, "build"))
    parser.add_argument("--data", default=os.environ.get("MLC_SHARED_DATA", os.path.join(root, "..", "shared", "data")))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", help="the levels to compile for; all of this machine's triple by default")
    parser.add_argument("--record", help="write what test_voice.py compares with")
    options = parser.parse_args()
    library = ctypes.CDLL(os.path.join(options.build, "lib", "libmlc.so"))
    record = {"made by": f"voice_streams.py --record, onnxruntime {onnxruntime.__version__}", "every": EVERY, "thin": THIN}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, network in voice.NETWORKS.items():
            paths[name] = os.path.join(folder, name + ".mlca")
            command = [os.path.join(options.build, "bin", "mlc"), "compile", os.path.join(options.data, network.file), "-o",
                       paths[name], *voice.options_of(network), *(["--cpu", options.cpu] if options.cpu else [])]
            subprocess.run(command, check=True)
        errors = stream_vad(options, paths, library, record) + stream_wake_word(options, paths, library, record)
    print("| network | steps | median relative error | largest |\n|---|---|---|---|")
    print("\n".join(e.line() for e in errors))
    if options.record:
        lines = [f"{json.dumps(key)}: {json.dumps(short(value))}" for key, value in record.items()]
        with open(options.record, "w", encoding="utf-8") as f:
            f.write("{" + ",\n ".join(lines) + "}\n")
    return int(any(max(e.all) > BOUND for e in errors))


if __name__ == "__main__":
    sys.exit(main())
