#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Streaming clients of mixed lengths against mlc-serve, or against any server of OpenAI's completions.

    load.py --artifact MODEL.mlca [--sequences 8] [--threads N]     starts mlc-serve
    load.py --port N --model NAME                                   a server that runs (llama.cpp's, to compare)

Prints one JSON object: throughput, latency, time to the first token, time between tokens. --solo also sends every
request alone first: greedy answers must be the same texts, and the throughput of one at a time is reported. Each client
sends its next request when the one before has ended; the list of requests depends on --seed alone.
"""
import argparse
import json
import os
import random
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
from serving import Server, stream

WORDS = ("the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which "
         "one you were all her she there would their we him been has when who will no more if out so up said what its about "
         "than into them can only other time new some could these two may first then do any like my now over such our man").split()


def requests(count, seed, prompt, answer):
    """Prompts and lengths: uniform in the logarithm, so that short ones are many and long ones are there."""
    chance = random.Random(seed)
    draw = lambda low, high: round(low * (high / low) ** chance.random())
    return [(" ".join(chance.choice(WORDS) for _ in range(draw(*prompt))), draw(*answer)) for _ in range(count)]


class Client:
    """Sends requests one after the other and keeps what it saw of each."""

    def __init__(self, port, model, scores):
        self.port, self.model = port, model
        # Of mlc-serve alone: an event for each token, also for one without text, with its log-probability.
        self.extra = {"logprobs": 0, "ignore_eos": True} if scores else {}

    def send(self, prompt, length):
        start, times, text, tokens = time.monotonic(), [], [], 0
        body = {"model": self.model, "prompt": prompt, "max_tokens": length, "temperature": 0, "stream": True, **self.extra}
        for at, event in stream(self.port, "/v1/completions", body, timeout=1200):
            if event == "[DONE]":
                break
            if "error" in event:
                raise RuntimeError(event["error"]["message"])
            choice = event["choices"][0]
            scores = choice.get("logprobs") or {"token_logprobs": []}
            if choice["text"] or scores["token_logprobs"]:
                times.append(at)
                tokens += len(scores["token_logprobs"]) or 1
                text.append((choice["text"], scores["token_logprobs"], scores.get("tokens")))
        return {"start": start, "end": time.monotonic(), "times": times, "answer": text, "tokens": tokens}


def run(clients, work):
    """All of `work` by as many clients; results in its order, and the wall time."""
    results, lock, failures = [None] * len(work), threading.Lock(), []
    following = iter(range(len(work)))

    def one(client):
        while True:
            with lock:
                i = next(following, None)
            if i is None or failures:
                return
            try:
                results[i] = client.send(*work[i])
            except Exception as error:
                failures.append(error)
    threads = [threading.Thread(target=one, args=(client,)) for client in clients]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results, time.monotonic() - start


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p * len(ordered)))] if ordered else None


def summary(results, seconds):
    gaps = [b - a for r in results for a, b in zip(r["times"], r["times"][1:])]
    latency = [r["end"] - r["start"] for r in results]
    first = [r["times"][0] - r["start"] for r in results if r["times"]]
    tokens = sum(r["tokens"] for r in results)
    if not gaps:  # A model whose tokens spell nothing, behind a server that sends text alone: whole answers are timed.
        return {"requests": len(results), "seconds": round(seconds, 3),
                "latency_s": {"median": round(statistics.median(latency), 4), "p95": round(percentile(latency, 0.95), 4)}}
    return {"requests": len(results), "seconds": round(seconds, 3), "tokens": tokens,
            "tokens_per_s": round(tokens / seconds, 2),
            "latency_s": {"median": round(statistics.median(latency), 4), "p95": round(percentile(latency, 0.95), 4)},
            "first_token_s": {"median": round(statistics.median(first), 4), "p95": round(percentile(first, 0.95), 4)},
            "inter_token_ms": {"median": round(1e3 * statistics.median(gaps), 3), "p95": round(1e3 * percentile(gaps, 0.95), 3),
                               "p99": round(1e3 * percentile(gaps, 0.99), 3),
                               "p99_over_median": round(percentile(gaps, 0.99) / statistics.median(gaps), 3)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact")
    parser.add_argument("--port", type=int)
    parser.add_argument("--model")
    parser.add_argument("--sequences", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--prompt", type=int, nargs=2, default=(8, 256), metavar=("LEAST", "MOST"), help="words")
    parser.add_argument("--answer", type=int, nargs=2, default=(8, 64), metavar=("LEAST", "MOST"), help="tokens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scores", action="store_true",
                        help="with log-probabilities, which must be the same bit for bit, and past end tokens")
    parser.add_argument("--solo", action="store_true", help="compare with each request alone")
    options = parser.parse_args()
    if bool(options.artifact) == bool(options.port):
        parser.error("give --artifact or --port")

    server = None
    if options.artifact:
        arguments = [options.artifact]
        for name in ("sequences", "threads"):
            if getattr(options, name):
                arguments += [f"--{name}", str(getattr(options, name))]
        # A prefix that was sent alone must not be faster afterwards.
        server = Server(*arguments, "--cache-entries", "0", "--queue", "4096")
        options.port = server.port
        options.model = server.request("GET", "/v1/models")[2]["data"][0]["id"]
    try:
        work = requests(options.requests, options.seed, options.prompt, options.answer)
        client = lambda: Client(options.port, options.model, options.scores)
        run([client()], requests(2, options.seed + 1, (8, 8), (4, 4)))  # Warm.
        report = {}
        if options.solo:
            alone, seconds = run([client()], work)
            report["solo"] = summary(alone, seconds)
        loaded, seconds = run([client() for _ in range(options.clients)], work)
        report["load"] = summary(loaded, seconds)
        report["load"]["clients"] = options.clients
        if options.solo:
            report["same_answers"] = sum(a["answer"] == b["answer"] for a, b in zip(alone, loaded))
            report["throughput_ratio"] = round(report["load"]["tokens_per_s"] / report["solo"]["tokens_per_s"], 3)
        if server:
            report["steps"] = {"count": server.metric("mlc_step_seconds_count"), "seconds": server.metric("mlc_step_seconds_sum")}
        print(json.dumps(report, indent=2))
        return 1 if options.solo and report["same_answers"] != len(work) else 0
    finally:
        if server:
            server.__exit__()


if __name__ == "__main__":
    sys.exit(main())
