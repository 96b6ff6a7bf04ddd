"""The models of a comparison, each made from another by one command, once.

A file is made beside its place and moved there, so an interrupted run leaves no half of one. Artifacts of mlc are made
again when the compiler is newer.
"""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# name: (environment, script, arguments); {x} is the path of model x, {out} that of the model itself.
RECIPES = {}
for size, geometry in (("q05", "qwen2.5-0.5b"), ("q15", "qwen2.5-1.5b")):
    RECIPES |= {
        size: ("peers", "checkpoint.py", [geometry, "{out}"]),
        f"{size}-f16.gguf": ("peers", "checkpoint.py", ["--gguf", f"{{{size}}}", "{out}"]),
        f"{size}-vocabulary-f16.gguf": ("peers", "checkpoint.py",
                                        ["--gguf-vocabulary", f"{{{size}-f16.gguf}}", "{out}"]),
        f"{size}-q4_0.gguf": ("llama", "convert.py", ["llama", f"{{{size}-f16.gguf}}", "{out}", "q4_0"]),
        f"{size}-q4_k_m.gguf": ("llama", "convert.py", ["llama", f"{{{size}-f16.gguf}}", "{out}", "q4_k_m"]),
        f"{size}-openvino-f16": ("peers", "convert.py", ["openvino-f16", f"{{{size}-vocabulary-f16.gguf}}", "{out}"]),
        f"{size}-openvino-int4-g128": ("peers", "convert.py",
                                       ["openvino-int4", f"{{{size}-openvino-f16}}", "{out}", "128"]),
        f"{size}-onnxruntime-int4-b128": ("peers", "convert.py", ["onnxruntime-int4", f"{{{size}}}", "{out}", "128"]),
    }
for name in ("mamba2-370m", "hybrid-700m", "moe-1.3b", "moe-1.3b-dense"):
    RECIPES |= {
        f"{name}-f16.gguf": ("peers", "random_gguf.py", [name, "{out}"]),
        f"{name}-q4_0.gguf": ("llama", "convert.py", ["llama", f"{{{name}-f16.gguf}}", "{out}", "q4_0"]),
    }


class Models:
    def __init__(self, folder, pythons, mlc):
        self.folder, self.pythons, self.mlc = os.path.abspath(folder), pythons, mlc
        os.makedirs(self.folder, exist_ok=True)

    def get(self, name):
        """Path of a model of RECIPES, made if it is not there."""
        path = os.path.join(self.folder, name)
        if os.path.exists(path):
            return path
        environment, script, arguments = RECIPES[name]
        part = os.path.join(self.folder, "part-" + name)
        paths = {"out": part}
        for argument in arguments:
            if argument.startswith("{") and argument != "{out}":
                paths[argument[1:-1]] = self.get(argument[1:-1])
        filled = [paths[argument[1:-1]] if argument.startswith("{") else argument for argument in arguments]
        self.make([self.pythons[environment], os.path.join(HERE, script), *filled], part, path)
        return path

    def artifact(self, source, options):
        """Path of `source` compiled with `options`."""
        path = os.path.join(self.folder, "-".join([source.removesuffix(".gguf"), *options]).replace("--", "")) + ".mlca"
        if os.path.exists(path) and os.path.getmtime(path) > os.path.getmtime(self.mlc):
            return path
        part = path.removesuffix(".mlca") + "-part.mlca"
        self.make([self.mlc, "compile", self.get(source), "-o", part, *options], part, path)
        return path

    def make(self, command, part, path):
        print("making", os.path.basename(path), file=sys.stderr, flush=True)
        if os.path.isdir(part):
            shutil.rmtree(part)
        log = os.path.join(self.folder, os.path.basename(path) + ".log")
        with open(log, "w", encoding="utf-8") as stream:
            # Others may be at work on the machine, measuring even.
            done = subprocess.run(["nice", "-n", "19", *command], stdout=stream, stderr=stream, cwd=self.folder,
                                  timeout=1800, check=False)
        if done.returncode or not os.path.exists(part):
            sys.exit(f"{' '.join(command)} failed; its output is in {log}")
        os.remove(log)
        os.replace(part, path)
