# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""What the tests of the server share: a server process, requests to it, and a Python environment with a package."""
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build"))


def tool(name):
    return os.path.join(BUILD, "bin", name)


class Requests:
    """Requests to a port of this machine, each on a connection of its own."""

    def __init__(self, port):
        self.port = port

    def request(self, method, path, body=None, headers=None, timeout=120):
        """Status, headers and the body, parsed when it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            text = response.read()
            kind = response.headers.get("Content-Type", "")
            return response.status, response.headers, json.loads(text) if kind == "application/json" else text.decode()
        finally:
            connection.close()

    def post(self, path, **body):
        return self.request("POST", path, body)


class Server(Requests):
    """mlc-serve on a free port. `log` holds its events; `with` stops it."""

    def __init__(self, *arguments, program=None, ready=True, env=None):
        self.log, self.changed = [], threading.Condition()
        command = [program or tool("mlc-serve"), *arguments, "--port", "0", "--log", "json"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(env or {})})
        self.stderr = []
        threading.Thread(target=self._read, daemon=True).start()
        self.port = self.event("listening")["port"]
        if ready:
            self.event("ready")

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.stderr.append(line)
                if line.startswith("{"):
                    self.log.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def event(self, name, timeout=60, **fields):
        """The first logged event of a name and fields; waits for it."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                for entry in self.log:
                    if entry["event"] == name and all(entry.get(k) == v for k, v in fields.items()):
                        return entry
                if time.monotonic() > end or self.process.poll() is not None and not self.changed.wait(1):
                    raise AssertionError(f"no event {name} {fields}: {''.join(self.stderr[-20:])}")
                self.changed.wait(max(0, min(1, end - time.monotonic())))

    def metric(self, name, **labels):
        """The value of a metric, whatever its other labels."""
        for line in self.request("GET", "/metrics")[2].splitlines():
            if line.split("{")[0].split(" ")[0] == name and all(f'{k}="{v}"' in line for k, v in labels.items()):
                return float(line.rsplit(" ", 1)[1])
        raise KeyError(name)

    def rss(self, kind="Rss"):
        """Resident bytes, counted page by page (status lags behind by some); Anonymous: those that no file backs."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(kind + ":"))

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=60):
        return self.process.wait(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def stream(port, path, body, headers=None, timeout=300):
    """Yields (time, event) of a stream; the last event is "[DONE]"."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {response.read().decode()}")
        for line in response:
            if line.startswith(b"data: "):
                data = line[6:].strip()
                yield time.monotonic(), "[DONE]" if data == b"[DONE]" else json.loads(data)
    finally:
        connection.close()


def environment(name, *packages):
    """The Python of a virtual environment in the build that has `packages`; None and why where it cannot be had."""
    folder = os.path.join(BUILD, "venv-" + name)
    python = os.path.join(folder, "bin", "python")
    stamp = os.path.join(folder, "packages")
    wanted = "\n".join(packages)
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return python, None
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=120)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
                        "--timeout", "15", *packages], check=True, capture_output=True, timeout=600)
    except (subprocess.SubprocessError, OSError) as error:
        detail = getattr(error, "stderr", None)
        line = detail.decode(errors="replace").strip().splitlines()[-1:] if detail else [str(error)]
        return None, f"{' '.join(packages)} cannot be installed here: {' '.join(line)}"
    with open(stamp, "w") as file:
        file.write(wanted)
    return python, None


def chat_checkpoint(folder):
    """A copy of the shipped model with a chat template, in `folder`."""
    source = os.path.join(ROOT, "models", "shakespeare")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(source):
        if name not in ("train.py", "README.md", "validation.txt"):
            target = os.path.join(folder, name)
            if name != "tokenizer_config.json":
                os.symlink(os.path.join(source, name), target)
    with open(os.path.join(source, "tokenizer_config.json")) as file:
        config = json.load(file)
    config["chat_template"] = ("{% for message in messages %}{{ message['role'] | upper }}:\n{{ message['content'] }}\n\n"
                               "{% endfor %}{% if add_generation_prompt %}ASSISTANT:\n{% endif %}")
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump(config, file)
    return folder
