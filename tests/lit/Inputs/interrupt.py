# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Interrupts (SIGINT, as Ctrl-C does) a compile or a run that is under way.

    python3 interrupt.py compile DIRECTORY
    python3 interrupt.py run ARTIFACT
"""
import json
import os
import signal
import struct
import subprocess
import sys
import time

import tiny_model


def big_checkpoint(directory):
    """The tiny Llama with a vocabulary of 2^20: sparse files of 134 MB that take no room."""
    vocabulary = 1 << 20
    model = tiny_model.HuggingFace(directory)
    model.config["vocab_size"] = vocabulary
    names = {"model.embed_tokens.weight", "lm_head.weight"}
    small = {name: tensor for name, tensor in model.tensors.items() if name not in names}
    header, end = {}, 0
    for name, (dtype, shape, content) in small.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(content)]}
        end += len(content)
    data = b"".join(content for _, _, content in small.values())
    for name in sorted(names):
        length = vocabulary * tiny_model.HIDDEN * 4
        header[name] = {"dtype": "F32", "shape": [vocabulary, tiny_model.HIDDEN], "data_offsets": [end, end + length]}
        end += length
    model.files = []
    model.write()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(directory, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
        f.truncate(8 + len(text) + end)


def writes_into(pid, place):
    try:
        files = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any(file.startswith(place) for file in files)


def interrupted_compile(directory):
    source, place = os.path.join(directory, "big"), os.path.join(directory, "out")
    big_checkpoint(source)
    os.makedirs(place, exist_ok=True)
    for name in os.listdir(place):
        os.remove(os.path.join(place, name))
    process = subprocess.Popen(["mlc", "compile", source, "-o", os.path.join(place, "x.mlca"), "--quant", "int4"],
                               stderr=subprocess.PIPE)
    # An open file in the output's place, with a name or without, shows that the writing has begun.
    deadline = time.monotonic() + 60
    while not (begun := writes_into(process.pid, place)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1].decode()
    print(f"begun {begun}, status {process.returncode}, left {os.listdir(place)}")
    print("\n".join(line for line in message.replace("\r", "\n").split("\n") if line.startswith("mlc: error: ")))


def interrupted_run(artifact):
    process = subprocess.Popen(["mlc", "run", artifact, "--prompt", "ROMEO:", "--max-tokens", "100000", "--ignore-eos"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, message = process.communicate(timeout=60)
    (first + rest).decode()  # No half character.
    print(f"begun {len(first)}, status {process.returncode}, stderr {message.decode()!r}")


{"compile": interrupted_compile, "run": interrupted_run}[sys.argv[1]](sys.argv[2])
