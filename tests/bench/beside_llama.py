#!/usr/bin/env python3
"""Decode and prefill of an artifact beside llama.cpp, in turns on the same machine; prints medians and their ratio.

    beside_llama.py --mlc build/bin/mlc MODEL.mlca MODEL.gguf [--threads 2] [--prompt 512] [--rounds 5]

Needs llama-cpp-python in the Python that runs it. Both get the same number of random prompt tokens, then 32 single
tokens at that depth. A load average above 0.5 spoils the figures and is printed.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import time

import llama_cpp as llama

NEW_TOKENS = 32


def open_llama(path, threads, positions):
    llama.llama_backend_init()
    model_params = llama.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(path.encode(), model_params)
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch = positions, 2048
    params.n_threads = params.n_threads_batch = threads
    return llama.llama_init_from_model(model, params)


def decode(context, tokens):
    array = (llama.llama_token * len(tokens))(*tokens)
    if llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens))):
        raise SystemExit("llama.cpp could not decode")
    llama.llama_synchronize(context)


def run_llama(context, prompt):
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    start = time.perf_counter()
    decode(context, [random.randrange(1000) for _ in range(prompt)])
    middle = time.perf_counter()
    for _ in range(NEW_TOKENS):
        decode(context, [random.randrange(1000)])
    return prompt / (middle - start), NEW_TOKENS / (time.perf_counter() - middle)


def run_mlc(arguments):
    command = [arguments.mlc, "bench", arguments.artifact, "-p", str(arguments.prompt), "-n", str(NEW_TOKENS),
               "-d", str(arguments.prompt), "-r", "1", "--threads", str(arguments.threads), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # With a depth, the prompt too is measured behind it: the prefill comes from a run of its own.
    command[command.index("-d") + 1] = "0"
    prefill = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return prefill["prompt_tokens_per_s"]["median"], report["tokens_per_s"]["median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("artifact")
    parser.add_argument("gguf")
    parser.add_argument("--mlc", default="build/bin/mlc")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    context = open_llama(arguments.gguf, arguments.threads, arguments.prompt + 2 * NEW_TOKENS)
    run_llama(context, 64)
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        print("load", os.getloadavg()[0])
        ours.append(run_mlc(arguments))
        theirs.append(run_llama(context, arguments.prompt))
    for index, name in enumerate(("prefill", "decode")):
        a = statistics.median(run[index] for run in ours)
        b = statistics.median(run[index] for run in theirs)
        print(f"{name}: mlc {a:.1f} llama.cpp {b:.1f} tokens/s, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
