# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Voice networks of ../shared/data as their projects stream speech through them: silero-vad and openWakeWord's chain.
Shared by the tests; what runs the networks (an artifact, onnxruntime) is the caller's."""
import collections
import os
import wave

import numpy as np

RATE = 16000
# silero-vad: 64 samples of context before 512 new ones.
VAD_CONTEXT, VAD_STEP = 64, 512
# openWakeWord: 480 samples of context before 1280 new ones give 8 rows of the mel spectrogram; an embedding sees 76 rows,
# the classifier 16 embeddings.
CONTEXT, STEP, BANDS, WINDOW, HOP, FEATURES, HISTORY = 480, 1280, 32, 76, 8, 96, 16
SILENT_SCORES = 5  # scores that openWakeWord takes for 0 at the beginning of a stream

Network = collections.namedtuple("Network", "file input output dims states")
NETWORKS = {
    "vad": Network("silero-vad/silero_vad.onnx", "input", "output",
                   f"sr={RATE},input.0=1,input.1={VAD_CONTEXT + VAD_STEP},state.1=1", "stateN=state"),
    "mel": Network("openwakeword/melspectrogram.onnx", "input", "output",
                   f"batch_size=1,samples={CONTEXT + STEP}", None),
    "embedding": Network("openwakeword/embedding_model.onnx", "input_1", "conv2d_19", "unk__314=1", None),
    "classifier": Network("openwakeword/alexa_v0.1.onnx", "onnx::Flatten_0", "13", None, None),
}
SPEECH, CLIP = "silero-vad/test.wav", "openwakeword/wav/alexa_test.wav"


def options_of(network, dims=None):
    """What `mlc compile` is given beside the file."""
    options = []
    if dims or network.dims:
        options += ["--dim", dims or network.dims]
    return options + (["--state", network.states] if network.states else [])


def samples(path):
    """int16[n] of a mono file at 16 kHz."""
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2), path
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def clip(data):
    """The wake word between two seconds of silence, as openWakeWord pads clips."""
    silence = np.zeros(RATE, np.int16)
    return np.concatenate([silence, samples(os.path.join(data, CLIP)), silence])


def frames(pcm, context, step):
    """f32[steps, context + step]: every `step` samples with those before them, zeros before the first."""
    padded = np.concatenate([np.zeros(context, pcm.dtype), pcm]).astype(np.float32)
    return np.stack([padded[i:i + context + step] for i in range(0, len(pcm) - step + 1, step)])


def vad_frames(pcm):
    """f32[steps, 1, 576] in -1..1"""
    return frames(pcm, VAD_CONTEXT, VAD_STEP)[:, None] / np.float32(32768)


class WakeWord:
    """openWakeWord's chain, a step of 80 ms a call. `networks` maps mel, embedding and classifier to functions of one array.
    The history begins as embeddings of noise, from a fixed seed."""

    def __init__(self, networks):
        self.networks = networks
        self.rows = np.ones((WINDOW, BANDS), np.float32)
        self.features = np.zeros((0, FEATURES), np.float32)
        noise = np.random.RandomState(0).randint(-1000, 1000, 2 * RATE).astype(np.int16)
        for frame in frames(noise, CONTEXT, STEP):
            self.hear(frame)
        self.rows[:] = 1

    def hear(self, frame):
        """f32[1760] -> the mel rows [8, 32] and the embedding [96] that the networks gave"""
        mel = self.networks["mel"](frame[None]).reshape(-1, BANDS)
        self.rows = np.concatenate([self.rows, mel / np.float32(10) + np.float32(2)])[-WINDOW:]
        embedding = self.networks["embedding"](self.rows[None, :, :, None]).reshape(FEATURES)
        self.features = np.concatenate([self.features, embedding[None]])[-HISTORY:]
        return mel, embedding

    def step(self, frame):
        """(mel rows, embedding, score)"""
        heard = self.hear(frame)
        return *heard, float(self.networks["classifier"](self.features[None]).reshape(()))


def clip_at_once(data, run):
    """The chain over the clip in three steps, as openWakeWord goes through recordings: f32[scores] of its end. `run` takes a
    network's name, its --dim and an input."""
    steps = frames(clip(data), CONTEXT, STEP)
    mel = run("mel", f"batch_size={len(steps)},samples={CONTEXT + STEP}", steps).reshape(-1, BANDS)
    rows = np.concatenate([np.ones((WINDOW - HOP, BANDS), np.float32), mel / np.float32(10) + np.float32(2)])
    windows = np.stack([rows[i:i + WINDOW, :, None] for i in range(0, len(rows) - WINDOW + 1, HOP)])
    features = run("embedding", f"unk__314={len(windows)}", windows).reshape(-1, FEATURES)
    return np.array([run("classifier", None, features[None, i - HISTORY:i]).reshape(()) for i in range(20, len(features), 5)])
