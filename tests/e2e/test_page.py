# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The page at / in headless Chromium, by its debugging pipe: a chat of two turns, text that goes on, Stop, an error."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from serving import Server, chat_checkpoint, tool

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One tab. Messages are JSON with a NUL behind each, on descriptors 3 and 4."""

    def __init__(self, folder, url):
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()

        def plumb():
            # Copies first: either end may have the number of the other's place.
            there = os.dup(read_there), os.dup(write_there)
            low = os.dup2(there[0], 63), os.dup2(there[1], 64)
            os.dup2(low[0], 3)
            os.dup2(low[1], 4)
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--no-first-run", f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen(command, preexec_fn=plumb, close_fds=False, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(read_there)
        os.close(write_there)
        self.input, self.output = os.fdopen(read_here, "rb", buffering=0), write_here
        self.waiting, self.number, self.session = b"", 0, None
        tab = self.call("Target.createTarget", url=url)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.waiting:
                piece = self.input.read(65536)
                if not piece:
                    raise RuntimeError("the browser has gone")
                self.waiting += piece
            text, self.waiting = self.waiting.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def until(self, expression, seconds=60):
        end = time.monotonic() + seconds
        while not self.value(expression):
            if time.monotonic() > end:
                raise AssertionError(f"{expression}: {self.value('document.body.innerText')}")
            time.sleep(0.05)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.input.close()
        os.close(self.output)


@unittest.skipUnless(CHROMIUM, "chromium is not installed")
@unittest.skipUnless(os.access(tool("mlc-serve"), os.X_OK) and os.access(tool("mlc"), os.X_OK),
                     f"{tool('mlc-serve')} is not built")
class Page(unittest.TestCase):
    def test_page(self):
        folder = tempfile.TemporaryDirectory(prefix="mlc-page-", ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        artifact = os.path.join(folder.name, "tiny.mlca")
        source = chat_checkpoint(os.path.join(folder.name, "tiny"))
        subprocess.run([tool("mlc"), "compile", source, "-o", artifact], check=True, timeout=300, stderr=subprocess.PIPE)
        server = Server(artifact)
        self.addCleanup(server.__exit__)
        browser = Browser(os.path.join(folder.name, "profile"), f"http://127.0.0.1:{server.port}/")
        self.addCleanup(browser.close)
        browser.until("document.getElementById('model') && document.getElementById('model').value == 'tiny'")
        set_value = lambda name, text: browser.value(f"document.getElementById('{name}').value = {json.dumps(text)}")
        press = lambda name: browser.value(f"document.getElementById('{name}').click()")
        answers = lambda: browser.value("[...document.querySelectorAll('.assistant')].map(box => box.textContent)")
        rest = "!document.getElementById('send').disabled"

        set_value("temperature", "0")
        set_value("tokens", "12")
        for turn in (1, 2):
            set_value("prompt", "Who art thou?")
            press("send")
            browser.until(rest + f" && document.querySelectorAll('.assistant').length == {turn}")
            self.assertRegex(browser.value("document.getElementById('status').textContent"), r"^\d+ tokens in ")
        said = answers()
        # The conversation so far went along: what the API gives for it is what the page shows.
        messages = [{"role": "user", "content": "Who art thou?"}]
        for answer in said:
            body = server.post("/v1/chat/completions", model="tiny", messages=messages, temperature=0, max_tokens=12)[2]
            self.assertEqual(body["choices"][0]["message"]["content"], answer)
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "Who art thou?"}]

        press("clear")
        set_value("mode", "text")
        set_value("prompt", "ROMEO:\n<b>")
        press("send")
        browser.until(rest)
        self.assertTrue(answers()[0].startswith("ROMEO:\n<b>"), answers())
        self.assertEqual(browser.value("document.querySelectorAll('main b').length"), 0)

        set_value("tokens", "480")
        set_value("prompt", "KING:\n")
        press("send")
        browser.until("!document.getElementById('stop').disabled")
        press("stop")
        browser.until(rest)
        self.assertIn(browser.value("document.getElementById('status').textContent").split(" ")[0], ("stopped", "480"))
        end = time.monotonic() + 5
        while server.metric("mlc_running"):
            self.assertLess(time.monotonic(), end)

        browser.value("document.getElementById('temperature').removeAttribute('max')")  # Else the form refuses it.
        set_value("temperature", "7")
        set_value("prompt", "x")
        press("send")
        browser.until("!!document.querySelector('.error')")
        self.assertIn("temperature", browser.value("document.querySelector('.error').textContent"))


if __name__ == "__main__":
    unittest.main()
