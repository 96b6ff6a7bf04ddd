# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""mlc run --chat and mlc-run --chat: through a pipe, and through a terminal (pty)."""
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "shakespeare")
BIN = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin")
MLC, MLC_RUN = os.path.join(BIN, "mlc"), os.path.join(BIN, "mlc-run")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'refused' or 'REFUSE' in m.content %}{{ raise_exception('not this') }}{% endif %}"
    "{{ m.role | upper }}:\n{{ m.content }}\n\n{% endfor %}{% if add_generation_prompt %}ROMEO:\n{% endif %}"
)


def run(*arguments, text=None, check=True):
    return subprocess.run([*map(str, arguments)], check=check, timeout=120, capture_output=True, text=True, input=text)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *arguments):
        self.child, self.master = pty.fork()
        if not self.child:
            os.execv(arguments[0], [str(a) for a in arguments])
        self.seen = ""

    def read(self, until, seconds=60):
        """What came up to and with `until`."""
        deadline = time.monotonic() + seconds
        while until not in self.seen:
            if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no {until!r} in {seconds} s; last: {self.seen[-300:]!r}")
            try:
                data = os.read(self.master, 4096)
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"ended before {until!r}: {self.seen[-300:]!r}")
            self.seen += data.decode("utf-8", "replace")
        head, _, self.seen = self.seen.partition(until)
        return head + until

    def write(self, text):
        os.write(self.master, text.encode())

    def status(self, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:
                    pass
            done, status = os.waitpid(self.child, os.WNOHANG)
            if done:
                self.child = None
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"still there after {seconds} s")

    def close(self):
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        os.close(self.master)


@unittest.skipUnless(os.access(MLC, os.X_OK) and os.access(MLC_RUN, os.X_OK), f"{MLC} and mlc-run are not built")
class Chat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="mlc-chat-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.plain = os.path.join(cls.folder, "plain.mlca")
        run(MLC, "compile", MODEL, "-o", cls.plain)
        cls.artifact = cls.compiled("chat", TEMPLATE)

    @classmethod
    def compiled(cls, name, template, stderr=""):
        """The shipped model with a template in chat_template.jinja."""
        source = os.path.join(cls.folder, name)
        shutil.copytree(MODEL, source)
        with open(os.path.join(source, "chat_template.jinja"), "w", encoding="utf-8") as f:
            f.write(template)
        done = run(MLC, "compile", source, "-o", source + ".mlca")
        cls.warned = done.stderr
        return source + ".mlca"

    def turns(self, text, *options, program=(MLC, "run")):
        out = run(*program, self.artifact, "--chat", "--json", "--max-tokens", 12, *options, text=text).stdout
        return [json.loads(line) for line in out.splitlines()]

    def test_only_new_tokens_are_processed(self):
        first, second, third = self.turns("Hello\nAnd now?\n\nMore\n", "--system", "Be brief.")
        self.assertEqual((first["turn"], first["cached_tokens"], second["turn"], third["turn"]), (1, 0, 2, 3))
        for before, after in (first, second), (second, third):
            # All of the turn before is there, but for what its last token and the text's cutting change.
            self.assertGreater(after["cached_tokens"], before["prompt_tokens"] - 4)
            self.assertLess(after["cached_tokens"], after["prompt_tokens"])
        for program in (MLC, "run"), (MLC_RUN,):
            again = self.turns("Hello\nAnd now?\nMore\n", "--system", "Be brief.", program=program)
            self.assertEqual([t["tokens"] for t in again], [t["tokens"] for t in (first, second, third)])

    def test_an_answer_is_what_the_rendered_prompt_gives(self):
        first, second = self.turns("Hello\nAnd now?\n")
        prompt = f"USER:\nHello\n\nASSISTANT:\n{first['text']}\n\nUSER:\nAnd now?\n\nROMEO:\n"
        # mlc run puts BOS before the text itself.
        alone = json.loads(run(MLC, "run", self.artifact, "--prompt", prompt, "--max-tokens", 12, "--json").stdout)
        self.assertEqual(alone["prompt_tokens"], second["prompt_tokens"])
        self.assertEqual(alone["tokens"], second["tokens"])

    def test_what_a_message_spells_is_no_special_token(self):
        plain, spelled = self.turns("x\n")[0], self.turns("<|endoftext|>\n")[0]
        self.assertGreater(spelled["prompt_tokens"], plain["prompt_tokens"] + 3)

    def test_text_and_stop(self):
        whole = self.turns("Hello\n")[0]["text"]
        stop = whole[4:7]
        out = run(MLC, "run", self.artifact, "--chat", "--max-tokens", 12, "--stop", stop, text="Hello\n").stdout
        self.assertEqual(out, whole[: whole.index(stop)] + "\n")
        cut = self.turns("Hello\n", "--stop", stop)[0]
        self.assertEqual((cut["text"], cut["finish_reason"]), (whole[: whole.index(stop)], "stop"))

    def test_refusals(self):
        def refused(*arguments, text="Hello\n"):
            done = run(*arguments, text=text, check=False)
            lines = [line for line in done.stderr.splitlines() if line.startswith("mlc: error: ")]
            self.assertEqual(len(lines), 1, done.stderr)
            return done.returncode, lines[0]

        code, line = refused(MLC, "run", self.plain, "--chat")
        self.assertEqual(code, 1)
        self.assertIn("came without a chat template, and none is guessed", line)
        self.assertIn(self.plain, line)
        code, line = refused(MLC_RUN, self.artifact, "--chat", "--prompt", "x")
        self.assertEqual((code, "--chat and --prompt" in line), (2, True), line)
        self.assertEqual(refused(MLC_RUN, self.artifact, "--stop", "x", "--prompt", "x")[0], 2)
        code, line = refused(MLC, "run", self.artifact, "--chat", text="REFUSE\n")
        self.assertEqual((code, "the chat template refuses: not this" in line), (1, True), line)
        code, line = refused(MLC, "run", self.artifact, "--chat", "--context", 16, text="a long line that is too long for this context of sixteen\n")
        self.assertEqual((code, "no longer fits the context of 16" in line), (1, True), line)
        broken = self.compiled("broken", "{% for m in messages %}{% include 'x' %}{% endfor %}")
        self.assertIn("mlc: warning: ", self.warned)
        self.assertIn("line 1: the tag 'include' is not supported; the artifact will refuse to chat", self.warned)
        code, line = refused(MLC, "run", broken, "--chat")
        self.assertEqual((code, "its chat template: line 1: the tag 'include' is not supported" in line), (1, True), line)

    def test_inspect_tells_of_the_template(self):
        for artifact, there in (self.plain, False), (self.artifact, True):
            self.assertEqual(json.loads(run(MLC, "inspect", artifact, "--json").stdout)["chat_template"], there)
            self.assertEqual("template of" in run(MLC, "inspect", artifact).stdout, there)

    def test_terminal(self):
        for program in (MLC, "run"), (MLC_RUN,):
            terminal = Terminal(*program, self.artifact, "--chat", "--max-tokens", "40", "--ignore-eos")
            self.addCleanup(terminal.close)
            terminal.read("> ")
            terminal.write("Hello\n")
            answer = terminal.read("\r\n> ")
            self.assertGreater(len(answer), 20)
            # Ctrl-C at the prompt: another prompt. What a person says wrong does not end the chat.
            terminal.write("\x03")
            terminal.read("> ")
            terminal.write("REFUSE\n")
            terminal.read("mlc: warning: ")
            terminal.read("> ")
            terminal.write("And now?\n")
            terminal.read("\r\n> ")
            terminal.write("\x04")
            self.assertEqual(terminal.status(), 0)

    def interrupted(self):
        """How many characters an answer shows that Ctrl-C stops as soon as ten are there."""
        terminal = Terminal(MLC_RUN, self.artifact, "--chat", "--max-tokens", "0", "--ignore-eos", "--threads", "1")
        try:
            terminal.read("> ")
            terminal.write("Hello\n")
            terminal.read("Hello\r\n")
            deadline = time.monotonic() + 30
            while len(terminal.seen) < 10 and time.monotonic() < deadline:
                terminal.seen += os.read(terminal.master, 64).decode("utf-8", "replace")
            terminal.write("\x03")
            shown = len(terminal.read("\r\n> "))
            # The chat goes on, and Ctrl-D leaves it.
            terminal.write("Again\n")
            terminal.read("Again\r\n")
            terminal.write("\x03")
            terminal.read("> ")
            terminal.write("\x04")
            self.assertEqual(terminal.status(), 0)
            return shown
        finally:
            terminal.close()

    def test_ctrl_c_stops_the_answer(self):
        whole = len(run(MLC_RUN, self.artifact, "--chat", "--max-tokens", 0, "--ignore-eos", text="Hello\n").stdout)
        # A busy machine may be done before it sees the key; it is not every time.
        shown = [self.interrupted()]
        while min(shown) > whole * 0.8 and len(shown) < 5:
            shown.append(self.interrupted())
        self.assertLess(min(shown), whole * 0.8)


if __name__ == "__main__":
    unittest.main()
