#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Many requests of every kind, some of them broken off, against mlc-serve:

    soak.py MODEL.mlca [--requests 10000] [--clients 16]

Prints the resident memory after each tenth. Fails when it has grown by more than 1 % after the
first 500 requests, or when a request got an answer that it should not."""
import argparse
import http.client
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
from serving import Server

KINDS = ("plain", "stream", "logprobs", "list", "left", "invalid", "chat", "tokenize", "schema", "embed")


def body_of(kind, model, chance):
    prompt = " ".join(chance.choice(("my", "lord", "the", "king", "is", "not", "here")) for _ in range(chance.randint(1, 40)))
    body = {"model": model, "prompt": prompt, "max_tokens": chance.randint(1, 12), "seed": chance.randint(0, 1000)}
    if kind in ("stream", "left"):
        body["stream"] = True
    if kind == "left":
        body |= {"max_tokens": 200, "ignore_eos": True}
    if kind == "logprobs":
        body |= {"logprobs": 5, "echo": True, "n": 2}
    if kind == "list":
        body["prompt"] = [prompt, prompt + " and", "once"]
    if kind == "invalid":
        body["colour"] = 1
    if kind == "schema":
        body["grammar"] = 'root ::= "yes" | "no"'
    if kind == "chat":
        del body["prompt"]
        body["messages"] = [{"role": "user", "content": prompt}]
    if kind == "tokenize":
        return "/tokenize", {"content": prompt}
    if kind == "embed":
        return "/v1/embeddings", {"model": model, "input": prompt}
    return ("/v1/chat/completions" if kind == "chat" else "/v1/completions"), body


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    with Server(options.artifact) as server:
        model = server.request("GET", "/v1/models")[2]["data"][0]["id"]
        # What the model cannot do is answered with 400 every time, which is as good for memory.
        fine = {kind: {200} for kind in KINDS} | {"invalid": {400}}
        for kind, (path, body) in ((k, body_of(k, model, random.Random(1))) for k in ("chat", "embed", "schema")):
            status, _, answer = server.request("POST", path, body)
            if status == 400 and answer["error"]["code"] == "unsupported_value":
                fine[kind] = {400}
        done, lock, wrong, mark = 0, threading.Lock(), [], max(500, options.requests // 10)

        def one(seed, until):
            nonlocal done
            chance = random.Random(seed)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
            while True:
                with lock:
                    if done >= until or wrong:
                        return
                    done += 1
                    if done % mark == 0:
                        print(done, server.rss(), file=sys.stderr, flush=True)
                kind = chance.choice(KINDS)
                path, body = body_of(kind, model, chance)
                try:
                    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    if kind == "left":
                        response.read(200)
                        connection.close()
                    else:
                        response.read()
                except OSError as error:
                    wrong.append(f"{kind}: {error}")
                    return
                if response.status not in fine[kind]:
                    wrong.append(f"{kind}: {response.status}")

        def run(until):
            """The requests up to that one; what is resident when nothing runs any more."""
            threads = [threading.Thread(target=one, args=(until + i, until)) for i in range(options.clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            while server.metric("mlc_running") and not wrong:
                time.sleep(0.01)
            # Memory goes back when nothing has run for a while.
            time.sleep(1)
            return server.rss(), server.rss("Anonymous")
        early, last = run(min(500, options.requests)), run(options.requests)
        growth = last[0] / early[0] - 1
        print(json.dumps({"requests": done, "rss_after_500": early[0], "rss_at_end": last[0], "growth": growth,
                          "anonymous_after_500": early[1], "anonymous_at_end": last[1], "wrong": wrong}))
        server.terminate()
        return 1 if wrong or growth > 0.01 or server.wait() else 0


if __name__ == "__main__":
    sys.exit(main())
