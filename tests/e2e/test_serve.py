# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The server from outside: endpoints, errors by name, streams, cancellation, drain, hostile clients, and the real
openai client."""
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import unittest

from serving import ROOT, Requests, Server, chat_checkpoint, environment, stream, tool

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT = "ROMEO:\n"
CONTEXT = 512


@unittest.skipUnless(os.access(tool("mlc-serve"), os.X_OK) and os.access(tool("mlc"), os.X_OK),
                     f"{tool('mlc-serve')} is not built")
class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="mlc-serve-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.artifact = os.path.join(cls.folder.name, "tiny.mlca")
        source = chat_checkpoint(os.path.join(cls.folder.name, "tiny"))
        subprocess.run([tool("mlc"), "compile", source, "-o", cls.artifact], check=True, timeout=300, stderr=subprocess.PIPE)
        # One server for the tests that leave it as it was.
        cls.server = Server(cls.artifact)
        cls.addClassCleanup(cls.server.__exit__)

    def start(self, *arguments, **options):
        server = Server(self.artifact, *arguments, **options)
        self.addCleanup(server.__exit__)
        return server

    def complete(self, server=None, **fields):
        status, _, body = (server or self.server).post(
            "/v1/completions", **{"model": "tiny", "prompt": PROMPT, "temperature": 0, **fields})
        self.assertEqual(status, 200, body)
        return body

    def refused(self, status, code, param, path="/v1/completions", **fields):
        defaults = {"model": "tiny"} | ({"prompt": PROMPT} if path == "/v1/completions" else {})
        given, headers, body = self.server.post(path, **{**defaults, **fields})
        self.assertEqual(given, status, body)
        error = body["error"]
        self.assertEqual((error["code"], error["param"]), (code, param), error)
        self.assertTrue(error["message"] and error["type"])
        self.assertTrue(re.fullmatch("[0-9a-f]{32}", headers["X-Request-Id"]))

    # Endpoints.

    def test_health_models_and_page(self):
        self.assertEqual(self.server.request("GET", "/health")[::2], (200, {"status": "ok"}))
        _, _, models = self.server.request("GET", "/v1/models")
        self.assertEqual([m["id"] for m in models["data"]], ["tiny"])
        self.assertEqual(self.server.request("GET", "/v1/models/tiny")[2]["object"], "model")
        status, headers, page = self.server.request("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        # Nothing from elsewhere.
        for path in ["/", *re.findall(r'(?:src|href)="([^"]+)"', page)]:
            status, _, text = self.server.request("GET", path)
            self.assertEqual(status, 200, path)
            self.assertNotRegex(text, r"https?://")

    def test_drafts(self):
        draft = os.path.join(self.folder.name, "draft.mlca")
        subprocess.run([tool("mlc"), "compile", os.path.join(self.folder.name, "tiny"), "--quant", "int8", "-o", draft],
                       check=True, timeout=300, stderr=subprocess.PIPE)
        fields = {"max_tokens": 60, "logprobs": 2, "n": 2}
        wanted = self.complete(**fields)["choices"]
        for given in ([draft], ["ngram"], [f"{draft},ngram", "--draft-tokens", "6"]):
            with self.subTest(given):
                server = self.start("--draft", *given)
                self.assertEqual(self.complete(server, **fields)["choices"], wanted)
        self.assertGreater(server.metric("mlc_drafted_tokens_total"), 0)
        self.assertGreater(server.metric("mlc_accepted_tokens_total"), 0)
        self.assertEqual(server.metric("mlc_draft_failures_total"), 0)
        for given, status, complaint in ((["--draft", "missing.mlca"], 1, "missing.mlca: "), (["--draft-tokens", "3"], 2, "goes with --draft"),
                                         (["--draft", draft, "--draft-tokens", "17"], 2, "choose auto or 1 to 16")):
            done = subprocess.run([tool("mlc-serve"), self.artifact, "--port", "0", *given], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(complaint, done.stderr.splitlines()[-1])

    def test_metrics(self):
        before = self.server.metric("mlc_completion_tokens_total")
        self.complete(max_tokens=5)
        self.assertEqual(self.server.metric("mlc_completion_tokens_total") - before, 5)
        text = self.server.request("GET", "/metrics")[2]
        for line in text.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \S+ .+|[a-z_]+(\{[^}]*\})? [0-9.e+-]+)$")
        for name in ("time_to_first_token_seconds", "inter_token_seconds", "queue_seconds"):
            self.assertRegex(text, rf'mlc_{name}_bucket\{{model="tiny",le="\+Inf"\}} [1-9]')

    def test_tokenize(self):
        _, _, body = self.server.post("/tokenize", content=PROMPT)
        tokens = body["tokens"]
        _, _, text = self.server.post("/detokenize", tokens=tokens)
        self.assertTrue(text["content"].endswith(PROMPT))
        _, _, body = self.server.post("/tokenize", content=PROMPT, with_pieces=True)
        self.assertEqual([piece["id"] for piece in body["tokens"]], tokens)
        # Token-id prompts are taken as they are, and give what their text gives.
        by_ids, by_text = self.complete(prompt=tokens), self.complete()
        self.assertEqual(by_ids["choices"], by_text["choices"])
        self.assertEqual(by_ids["usage"]["prompt_tokens"], len(tokens))

    # Completions.

    def test_list_prompts_and_choices(self):
        body = self.complete(prompt=["A", "B"], n=2, temperature=1, seed=1, max_tokens=3)
        self.assertEqual([c["index"] for c in body["choices"]], [0, 1, 2, 3])
        self.assertEqual(body["usage"]["completion_tokens"], 12)
        again = self.complete(prompt=["A", "B"], n=2, temperature=1, seed=1, max_tokens=3)
        self.assertEqual(body["choices"], again["choices"])

    def test_best_of_counts_every_candidate(self):
        body = self.complete(best_of=3, temperature=1, seed=1, max_tokens=4, logprobs=0)
        self.assertEqual(len(body["choices"]), 1)
        self.assertEqual(body["usage"]["completion_tokens"], 12)

    def test_echo_and_logprobs(self):
        solo = self.complete(max_tokens=6, logprobs=2)["choices"][0]
        echoed = self.complete(max_tokens=6, logprobs=2, echo=True)["choices"][0]
        self.assertEqual(echoed["text"], PROMPT + solo["text"])
        scores = echoed["logprobs"]
        self.assertIsNone(scores["token_logprobs"][0])
        self.assertIsNone(scores["top_logprobs"][0])
        self.assertEqual(scores["token_logprobs"][-6:], solo["logprobs"]["token_logprobs"])
        for token, top, offset in list(zip(scores["tokens"], scores["top_logprobs"], scores["text_offset"]))[1:]:
            self.assertIn(token, top)
            self.assertTrue(echoed["text"][offset:].startswith(token))
        # Greedy tokens are the likeliest.
        for token, top in zip(solo["logprobs"]["tokens"], solo["logprobs"]["top_logprobs"]):
            self.assertEqual(max(top, key=top.get), token)
        scored = self.complete(prompt=PROMPT + solo["text"], max_tokens=0, echo=True, logprobs=0)["choices"][0]
        self.assertEqual(scored["text"], PROMPT + solo["text"])
        self.assertEqual(scored["finish_reason"], "length")

    def test_stop_never_leaks(self):
        text = self.complete(max_tokens=60)["choices"][0]["text"]
        stop = text[10:16]
        body = self.complete(max_tokens=60, stop=[stop, "@@"])["choices"][0]
        self.assertEqual((body["text"], body["finish_reason"]), (text[:text.index(stop)], "stop"))
        streamed = "".join(e["choices"][0]["text"] for _, e in stream(
            self.server.port, "/v1/completions", {"model": "tiny", "prompt": PROMPT, "temperature": 0, "max_tokens": 60,
                                                  "stop": stop, "stream": True}) if e != "[DONE]")
        self.assertEqual(streamed, body["text"])

    def test_logit_bias(self):
        token = self.server.post("/tokenize", content="the", add_special=False)[2]["tokens"][0]
        text = self.complete(max_tokens=3, logit_bias={str(token): 100}, logprobs=0)["choices"][0]
        self.assertEqual(len(set(text["logprobs"]["tokens"])), 1)
        # The model's own log-probabilities, before the bias.
        self.assertLess(min(text["logprobs"]["token_logprobs"]), -0.01)

    def test_grammar_and_schema(self):
        body = self.complete(max_tokens=20, grammar='root ::= "yes" | "no"')["choices"][0]
        self.assertIn(body["text"], ("yes", "no"))
        self.assertEqual(body["finish_reason"], "stop")
        schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["a"],
                  "additionalProperties": False}
        # Space may stand between the parts of JSON, and this model would write nothing else.
        spaces = {str(t): -100 for text in ("\n", "\n\n", " ", "  ", "\t", "\r")
                  for t in self.server.post("/tokenize", content=text, add_special=False)[2]["tokens"]}
        body = self.complete(max_tokens=60, logit_bias=spaces, response_format={
            "type": "json_schema", "json_schema": {"name": "x", "schema": schema}})["choices"][0]
        self.assertIsInstance(json.loads(body["text"])["a"], int)
        self.refused(400, "invalid_grammar", "grammar", grammar="root ::= missing")

    def test_stream(self):
        body = {"model": "tiny", "prompt": PROMPT, "temperature": 0, "max_tokens": 8, "stream": True,
                "stream_options": {"include_usage": True}}
        events = [event for _, event in stream(self.server.port, "/v1/completions", body)]
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(events[-2]["choices"], [])
        self.assertEqual(events[-2]["usage"]["completion_tokens"], 8)
        self.assertTrue(all(event["usage"] is None for event in events[:-2]))
        self.assertEqual(len({event["id"] for event in events[:-1]}), 1)
        self.assertEqual("".join(event["choices"][0]["text"] for event in events[:-2]),
                         self.complete(max_tokens=8)["choices"][0]["text"])

    def test_length_and_context(self):
        tokens = [1] * (CONTEXT - 4)
        body = self.complete(prompt=tokens, max_tokens=50)
        self.assertEqual(body["choices"][0]["finish_reason"], "length")
        self.assertLessEqual(body["usage"]["completion_tokens"], 5)
        self.refused(400, "context_length_exceeded", "prompt", prompt=[1] * (CONTEXT + 1))

    def test_chat_goes_on_from_its_first_turn(self):
        messages = [{"role": "user", "content": "Speak, I pray thee, of the king and of his noble house. " * 6}]
        ask = lambda: self.server.post("/v1/chat/completions", model="tiny", messages=messages, temperature=0, max_tokens=40)[2]
        first = ask()
        self.assertEqual(first["choices"][0]["message"]["role"], "assistant")
        self.assertTrue(first["id"].startswith("chatcmpl-"))
        messages += [first["choices"][0]["message"] | {"annotations": None}, {"role": "user", "content": "And then?"}]
        before = self.server.metric("mlc_processed_tokens_total")
        second = ask()
        processed = self.server.metric("mlc_processed_tokens_total") - before
        cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.assertGreater(cached, 0)
        # The end of an answer is encoded again as text, which may part it into other tokens: at most a page of 64 more.
        new = second["usage"]["prompt_tokens"] - first["usage"]["prompt_tokens"] + second["usage"]["completion_tokens"]
        self.assertLessEqual(processed, new + 64)

    # Errors.

    def test_errors_name_the_field(self):
        self.refused(400, "invalid_value", "temperature", temperature=3)
        self.refused(400, "invalid_type", "n", n="two")
        self.refused(400, "unknown_parameter", "frobnicate", frobnicate=1)
        self.refused(400, "unsupported_parameter", "suffix", suffix="x")
        self.refused(400, "invalid_value", "stream_options", stream_options={"include_usage": True})
        self.refused(400, "invalid_value", "prompt", prompt=[1 << 20])
        self.refused(400, "invalid_value", "logit_bias", logit_bias={"99999": 1})
        self.refused(400, "invalid_value", "best_of", best_of=2, stream=True)
        self.refused(404, "model_not_found", "model", model="gpt-4")
        self.refused(400, "missing_required_parameter", "model", model=None)
        self.refused(400, "unsupported_parameter", "tools", path="/v1/chat/completions",
                     messages=[{"role": "user", "content": "x"}], tools=[{}])
        for method, path, status in (("GET", "/nothing", 404), ("GET", "/v1/completions", 405), ("POST", "/health", 405),
                                     ("GET", "/v1/models/gpt-4", 404)):
            given, _, body = self.server.request(method, path)
            self.assertEqual(given, status, path)
            self.assertTrue(body["error"]["message"])
        self.assertEqual(self.server.request("POST", "/v1/completions", "{")[0], 400)
        self.assertEqual(self.server.request("POST", "/v1/completions", b"x" * (9 << 20))[0], 413)
        # Pages of other sites.
        self.assertEqual(self.server.request("GET", "/v1/models", headers={"Origin": "https://evil.example"})[0], 403)

    def test_lenient_ids_and_keys(self):
        keys = os.path.join(self.folder.name, "keys")
        with open(keys, "w") as file:
            file.write("one\ntwo\n")
        server = self.start("--lenient", "--api-key-file", keys)
        body = {"prompt": PROMPT, "max_tokens": 1, "frobnicate": 1}
        self.assertEqual(server.request("GET", "/health")[0], 200)
        for path in ("/metrics", "/v1/models"):
            self.assertEqual(server.request("GET", path)[0], 401, path)
        for key in ("three", "on", "one2", ""):
            given, _, error = server.request("POST", "/v1/completions", body, {"Authorization": f"Bearer {key}"})
            self.assertEqual((given, error["error"]["code"]), (401, "invalid_api_key"))
        text = "01234567-89AB-cdef-8899-aabbccddeeff"
        status, headers, answer = server.request("POST", "/v1/completions", body,
                                                 {"Authorization": "Bearer two", "X-Request-Id": "chatcmpl-" + text + "-1"})
        self.assertEqual(status, 200, answer)
        canonical = text.replace("-", "").lower()
        self.assertEqual(headers["X-Request-Id"], canonical)
        self.assertEqual(answer["id"], "cmpl-" + canonical)
        self.assertEqual(server.event("request", id=canonical)["status"], 200)

    def test_pages_of_an_allowed_origin(self):
        origin = "https://pages.example"
        server = self.start("--allow-origin", origin)
        status, headers, _ = server.request("OPTIONS", "/v1/completions", headers={"Origin": origin})
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, origin))
        for method, path, status in (("GET", "/v1/models", 200), ("GET", "/v1/completions", 405)):
            given, headers, _ = server.request(method, path, headers={"Origin": origin})
            self.assertEqual((given, headers["Access-Control-Allow-Origin"]), (status, origin))
        self.assertEqual(server.request("GET", "/v1/models", headers={"Origin": "https://other.example"})[0], 403)

    def test_queue_is_bounded(self):
        server = self.start("--queue", "1", "--sequences", "1")
        statuses, headers = [], []

        def ask():
            status, head, _ = server.post("/v1/completions", model="tiny", prompt=PROMPT, max_tokens=400, ignore_eos=True)
            statuses.append(status)
            headers.append(head)
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(statuses), {200, 429})
        self.assertTrue(all(int(h["Retry-After"]) >= 1 for s, h in zip(statuses, headers) if s == 429))

    # The command line.

    def test_command_line(self):
        port = str(self.server.port)
        missing = os.path.join(self.folder.name, "missing.mlca")
        for arguments, status in (([self.artifact, "--port", port], 1), ([missing, "--port", "0"], 1), ([], 2),
                                  ([self.artifact, "--draft-tokens", "x"], 2), ([self.artifact, self.artifact], 2),
                                  ([self.artifact, "--log", "xml"], 2),
                                  ([self.artifact, "--api-key-file", missing], 1)):
            done = subprocess.run([tool("mlc-serve"), *arguments, *(["--log", "off"] if "--log" not in arguments else [])],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertRegex(done.stderr, r"\Amlc: error: [^\n]+\n\Z")
            if port in arguments:
                self.assertIn(f"port {port} is in use", done.stderr)

    def test_two_models(self):
        server = self.start("other=" + self.artifact, "--sequences", "2")
        self.assertEqual([m["id"] for m in server.request("GET", "/v1/models")[2]["data"]], ["tiny", "other"])
        answers = [server.post("/v1/completions", model=m, prompt=PROMPT, temperature=0)[2] for m in ("tiny", "other")]
        self.assertEqual(answers[0]["choices"], answers[1]["choices"])

    # Streams that end early, and the server's own end.

    def test_disconnect_frees_the_slot(self):
        if os.getloadavg()[0] > 2 * os.cpu_count():
            self.skipTest(f"too much else runs here to measure 50 ms: a load of {os.getloadavg()[0]:.0f}")
        times = []
        for _ in range(5):
            events = stream(self.server.port, "/v1/completions",
                            {"model": "tiny", "prompt": PROMPT, "max_tokens": 500, "ignore_eos": True, "stream": True})
            next(events)
            self.assertEqual(self.server.metric("mlc_running"), 1)
            start = time.monotonic()
            events.close()
            while self.server.metric("mlc_running"):
                self.assertLess(time.monotonic() - start, 5)
            times.append(time.monotonic() - start)
        self.assertLess(statistics.median(times), 0.05, times)

    def test_terminate_drains(self):
        server = self.start()
        self.assertEqual(server.request("GET", "/health")[0], 200)
        body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 480, "ignore_eos": True, "stream": True}
        events = stream(server.port, "/v1/completions", body)
        next(events)
        server.terminate()
        server.event("terminating")
        # While the stream runs.
        status, headers, answer = server.post("/v1/completions", model="tiny", prompt=PROMPT)
        self.assertEqual((status, answer["error"]["code"]), (503, "shutting_down"))
        self.assertIn("Retry-After", headers)
        self.assertEqual(server.request("GET", "/health")[::2], (503, {"status": "draining"}))
        rest = [event for _, event in events]
        self.assertEqual(rest[-1], "[DONE]")
        self.assertEqual(rest[-2]["choices"][0]["finish_reason"], "length")
        self.assertEqual(server.wait(), 0)

    def test_second_signal_ends_at_once(self):
        server = self.start()
        events = stream(server.port, "/v1/completions",
                        {"model": "tiny", "prompt": [1], "max_tokens": 500, "ignore_eos": True, "n": 64, "stream": True})
        next(events)
        server.terminate()
        server.event("terminating")
        server.terminate()
        self.assertEqual(server.wait(10), 0)

    def test_concurrent_answers_are_the_solo_ones(self):
        bodies = [{"prompt": f"{name}:\nMy lord, " + "I say, " * (7 * i), "max_tokens": 10 + 5 * i}
                  for i, name in enumerate(("ROMEO", "JULIET", "KING", "QUEEN", "FOOL", "DUKE", "GHOST", "NURSE", "PAGE"))]
        solo = [self.complete(**body)["choices"][0]["text"] for body in bodies]
        together = [None] * len(bodies)

        def ask(i):
            events = stream(self.server.port, "/v1/completions", {"model": "tiny", "temperature": 0, "stream": True, **bodies[i]})
            together[i] = "".join(event["choices"][0]["text"] for _, event in events if event != "[DONE]")
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, solo)

    # Hostile clients.

    def raw(self, data, server=None, shut=False, timeout=15):
        """What comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", (server or self.server).port), timeout) as connection:
            connection.sendall(data)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer

    def test_garbage(self):
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 4, b"GET\r\n\r\n", b"\r\n\r\n\r\n\r\nx y z\r\n\r\n",
                     b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"A" * 100000,
                     b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                     b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n"):
            answer = self.raw(data, shut=True)
            if answer:
                self.assertRegex(answer, rb"\AHTTP/1\.1 4\d\d [^\r]+\r\n", data[:40])
                self.assertNotIn(b"\r\nHTTP/1.1 200", answer)
        # Half-closed in the middle of a request.
        self.assertEqual(self.raw(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{", shut=True), b"")
        self.assertEqual(self.server.request("GET", "/health")[0], 200)

    def test_pipelining_and_versions(self):
        request = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        answer = self.raw(request * 2 + b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 3)
        self.assertIn(b"HTTP/1.1 200", self.raw(b"GET /health HTTP/1.0\r\n\r\n"))
        body = json.dumps({"model": "tiny", "prompt": PROMPT, "max_tokens": 2, "stream": True}).encode()
        head = b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        answer = self.raw(head + body)
        self.assertNotIn(b"chunked", answer)
        self.assertTrue(answer.endswith(b"data: [DONE]\n\n"))
        chunked = b"".join(b"%x\r\n%c\r\n" % (1, c) for c in body) + b"0\r\n\r\n"
        answer = self.raw(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked)
        self.assertIn(b"[DONE]", answer)
        answer = self.raw(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                          % len(body) + body)
        self.assertTrue(answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"))

    def test_idle_and_slow_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
        before = self.server.rss()
        idle = [socket.create_connection(("127.0.0.1", self.server.port), 10) for _ in range(1000)]
        try:
            for connection in idle[:500]:
                connection.sendall(b"GET /health HTTP/1.1\r\nX")
            self.complete(max_tokens=4)
            self.assertEqual(self.server.request("GET", "/health")[0], 200)
            self.assertLess(self.server.rss() - before, 32 << 20)
            # One that drips its header is told so.
            slow, start, answer = idle[0], time.monotonic(), b""
            slow.settimeout(0.5)
            while time.monotonic() - start < 20 and not answer:
                try:
                    slow.sendall(b"x")
                    answer = slow.recv(1000)
                except TimeoutError:
                    pass
            self.assertIn(b"408", answer)
            self.assertLess(time.monotonic() - start, 15)
        finally:
            for connection in idle:
                connection.close()

    def test_full_house_evicts_who_is_idle(self):
        server = self.start("--connections", "20")
        idle = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(60)]
        self.assertEqual(server.request("GET", "/health")[0], 200)
        self.assertGreaterEqual(server.metric("mlc_http_evicted_total"), 40)
        for connection in idle:
            connection.close()

    # Replicas behind nginx.

    def test_nginx_sticks_and_moves_on(self):
        nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not nginx:
            self.skipTest("nginx is not installed")
        replicas = [self.start(), self.start()]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(os.path.join(ROOT, "runtime", "server", "deploy", "nginx.conf")) as file:
            site = file.read()
        # The file that ships, but for its ports and its certificate.
        for given, replica in (("8080", replicas[0]), ("8081", replicas[1])):
            site = site.replace(f"127.0.0.1:{given}", f"127.0.0.1:{replica.port}")
        site = re.sub(r"\n *ssl_[^;]*;", "", site).replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        folder = tempfile.TemporaryDirectory(prefix="mlc-nginx-")
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder.name}/{kind};" for kind in kinds)
        with open(os.path.join(folder.name, "nginx.conf"), "w") as file:
            file.write(f"daemon off; pid {folder.name}/pid; error_log stderr warn; worker_processes 1;\n"
                       f"events {{ worker_connections 256; }}\nhttp {{ access_log off; {temporary}\n{site}\n}}\n")
        log = open(os.path.join(folder.name, "log"), "w+")
        self.addCleanup(log.close)
        proxy = subprocess.Popen([nginx, "-p", folder.name, "-c", os.path.join(folder.name, "nginx.conf")], stderr=log)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.terminate)
        front = Requests(port)
        for _ in range(100):
            try:
                front.request("GET", "/health")
                break
            except OSError:
                self.assertIsNone(proxy.poll(), open(log.name).read())
                time.sleep(0.05)
        chat = lambda text, *more: {"messages": [{"role": "user", "content": f"{text} and the noble king, " * 24}, *more], "model": "tiny", "max_tokens": 1}
        counts = lambda: [replica.metric("mlc_requests_accepted_total") for replica in replicas]
        # A chat stays where it began, several chats do not all begin at one place.
        places = []
        for letter in "abcdefghijkl":
            before = counts()
            for turn in ([], [{"role": "user", "content": "And?"}]):
                status, headers, body = front.request("POST", "/v1/chat/completions", chat(letter, *turn))
                self.assertEqual(status, 200, body)
            moved = [b - a for a, b in zip(before, counts())]
            self.assertIn(moved, ([2, 0], [0, 2]))
            places.append(moved[0])
        self.assertEqual(len(set(places)), 2)
        self.assertEqual(front.request("GET", "/metrics")[0], 404)
        # A replica that drains finishes its stream; what comes new goes to the other one.
        events = stream(replicas[0].port, "/v1/completions", {"model": "tiny", "prompt": PROMPT, "max_tokens": 480,
                                                              "ignore_eos": True, "stream": True})
        next(events)
        replicas[0].terminate()
        replicas[0].event("terminating")
        for letter in "abcdef":
            status, _, body = front.request("POST", "/v1/chat/completions", chat(letter))
            self.assertEqual(status, 200, body)
        self.assertEqual([event for _, event in events][-1], "[DONE]")
        self.assertEqual(replicas[0].wait(), 0)
        self.assertEqual(front.request("POST", "/v1/chat/completions", chat("a"))[0], 200)

    # The real client.

    def test_openai_client(self):
        python, why = environment("openai", "openai==3.57.0")
        if not python:
            self.skipTest(why)
        done = subprocess.run([python, os.path.join(HERE, "openai_client.py"), str(self.server.port)], capture_output=True,
                              text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("conforms", done.stdout)


if __name__ == "__main__":
    unittest.main()
