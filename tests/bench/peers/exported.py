#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Networks of well-known shapes, exported from PyTorch with random weights, compiled, and compared with onnxruntime.

    exported.py --build build --folder exported [--only NAME,...] [--dynamo] [--json F]

Needs torch, transformers, numpy and onnxruntime (--dynamo also onnxscript), and libmlc.so (target mlc_shared). A file
that lies in --folder is not exported again. Each network is compiled with its dimensions fixed and run once with 1 and
with 2 threads: the outputs must be within --tolerance of onnxruntime's, relative to the largest, and the same bits with
both. networks.py --exported FOLDER measures their latency.
"""
import argparse
import ctypes
import json
import os
import subprocess
import sys
import time

import numpy as np
import onnxruntime

from networks import Network

# Name: dimensions that --dim fixes, and how large the integers of an input are (others: normals; masks: ones).
SHAPES = {
    "whisper-encoder": ("batch=1,frames=3000", {}),
    "whisper-decoder": ("batch=1,length=32,positions=1500", {"tokens": 51865}),
    "minilm": ("batch=1,length=128", {"ids": 30522}),
    "vits-text": ("batch=1,length=64", {"ids": 38}),
    "vits-flow": ("batch=1,frames=64", {}),
    "vits-decoder": ("batch=1,frames=64", {}),
}


def modules(torch, transformers):
    """By name: a function that makes the module, example inputs by name, outputs, and the dynamic axes of both."""
    class Call(torch.nn.Module):
        def __init__(self, held, call):
            super().__init__()
            self.held, self.call = held, call

        def forward(self, *inputs):
            return self.call(self.held, *inputs)

    def whisper():
        return transformers.WhisperModel(transformers.WhisperConfig(
            encoder_layers=4, decoder_layers=4, d_model=384, encoder_attention_heads=6, decoder_attention_heads=6,
            encoder_ffn_dim=1536, decoder_ffn_dim=1536, attn_implementation="eager")).eval()

    def decode(decoder, tokens, hidden):
        places = torch.arange(tokens.shape[1])[None]
        y = decoder(input_ids=tokens, attention_mask=torch.ones_like(tokens), position_ids=places,
                    encoder_hidden_states=hidden, use_cache=False)[0]
        return y @ decoder.embed_tokens.weight.T

    def bert():
        return transformers.BertModel(transformers.BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)).eval()

    def embed(model, ids, mask):
        y, rows = model(input_ids=ids, attention_mask=mask)[0], mask[..., None].to(torch.float32)
        return (y * rows).sum(1) / rows.sum(1).clamp(min=1e-9)

    def vits():
        return transformers.VitsModel(transformers.VitsConfig()).eval()

    def text(encoder, ids, mask):
        y = encoder(input_ids=ids, padding_mask=mask[..., None], attention_mask=mask, return_dict=True)
        return y.last_hidden_state, y.prior_means

    def ids(most, *shape):
        return torch.randint(0, most, shape)

    latent = transformers.VitsConfig().flow_size
    return {
        "whisper-encoder": (lambda: Call(whisper().encoder, lambda m, x: m(x)[0]), {"mel": torch.randn(1, 80, 3000)},
                            ["hidden"], {"mel": {0: "batch", 2: "frames"}}),
        "whisper-decoder": (lambda: Call(whisper().decoder, decode),
                            {"tokens": ids(51865, 1, 32), "hidden": torch.randn(1, 1500, 384)}, ["logits"],
                            {"tokens": {0: "batch", 1: "length"}, "hidden": {0: "batch", 1: "positions"}}),
        "minilm": (lambda: Call(bert(), embed), {"ids": ids(30522, 1, 128), "mask": torch.ones(1, 128, dtype=torch.int64)},
                   ["embedding"], {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}),
        "vits-text": (lambda: Call(vits().text_encoder, text), {"ids": ids(38, 1, 64), "mask": torch.ones(1, 64)},
                      ["hidden", "means"], {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}),
        "vits-flow": (lambda: Call(vits().flow, lambda m, z, mask: m(z, mask, reverse=True)),
                      {"z": torch.randn(1, latent, 64), "mask": torch.ones(1, 1, 64)}, ["latent"],
                      {"z": {0: "batch", 2: "frames"}, "mask": {0: "batch", 2: "frames"}}),
        "vits-decoder": (lambda: Call(vits().decoder, lambda m, z: m(z)), {"latent": torch.randn(1, latent, 64)}, ["wave"],
                         {"latent": {0: "batch", 2: "frames"}}),
    }


def export(names, folder, dynamo):
    if not names:
        return
    import torch
    import transformers
    for name, (make, inputs, outputs, axes) in modules(torch, transformers).items():
        if name not in names:
            continue
        torch.manual_seed(1)
        # The older exporter keeps dimensions open, which --dim then fixes; the newer one gets fixed ones.
        torch.onnx.export(make(), tuple(inputs.values()), os.path.join(folder, name + ".onnx"), dynamo=dynamo,
                          input_names=list(inputs), output_names=outputs, **({} if dynamo else {"dynamic_axes": axes}))


def dims_of(path, name):
    """--dim for those of the shape's dimensions that the file leaves open."""
    peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    open_dims = {d for i in peer.get_inputs() for d in i.shape if isinstance(d, str)}
    return ",".join(d for d in SHAPES[name][0].split(",") if d.split("=")[0] in open_dims)


def values_for(name, port, array, random):
    if port in SHAPES[name][1]:
        return random.integers(0, SHAPES[name][1][port], array.shape).astype(array.dtype)
    return np.ones_like(array) if port == "mask" else random.standard_normal(array.shape).astype(array.dtype)


def compare(name, folder, build, library):
    path, artifact = os.path.join(folder, name + ".onnx"), os.path.join(folder, name + ".mlca")
    dims = dims_of(path, name)
    command = [os.path.join(build, "bin", "mlc"), "compile", path, "-o", artifact] + (["--dim", dims] if dims else [])
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    compile_s, found = time.perf_counter() - begin, []
    for threads in (1, 2):
        ours, random, feeds = Network(library, artifact, threads), np.random.default_rng(1), {}
        for port, array in ours.inputs.items():
            feeds[port] = values_for(name, port, array, random)
            array[...] = feeds[port]
        ours.run()
        found.append({port: array.copy() for port, array in ours.outputs.items()})
    peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = dict(zip([o.name for o in peer.get_outputs()], peer.run(None, feeds)))
    error = max(np.abs(found[0][n] - v).max() / max(np.abs(v).max(), 1e-30) for n, v in expected.items())
    same = all(np.array_equal(found[0][n], found[1][n]) for n in expected)
    return {"network": name, "relative_error": float(error), "same_with_2_threads": same, "compile_s": compile_s,
            "artifact_bytes": os.path.getsize(artifact)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--only", default=",".join(SHAPES))
    parser.add_argument("--dynamo", action="store_true", help="PyTorch's newer exporter")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--json")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in SHAPES]:
        parser.error(f"there is no {', '.join(unknown)}; there are: {', '.join(SHAPES)}")
    os.makedirs(options.folder, exist_ok=True)
    export([n for n in names if not os.path.exists(os.path.join(options.folder, n + ".onnx"))], options.folder,
           options.dynamo)
    library = ctypes.CDLL(os.path.join(options.build, "lib", "libmlc.so"))
    print("| network | relative error | 1 and 2 threads | compile, s | artifact, MB |\n|---|---|---|---|---|")
    rows = []
    for name in names:
        row = compare(name, options.folder, options.build, library)
        rows.append(row)
        print(f"| {name} | {row['relative_error']:.1e} | {'equal' if row['same_with_2_threads'] else 'DIFFERENT'} | "
              f"{row['compile_s']:.2f} | {row['artifact_bytes'] / 1e6:.1f} |", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)
    return int(not all(r["relative_error"] <= options.tolerance and r["same_with_2_threads"] for r in rows))


if __name__ == "__main__":
    sys.exit(main())
