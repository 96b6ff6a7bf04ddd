"""mlc beside its peers: both sides stay loaded and run in turns; prints and writes a table, losses included.

run.sh sets the environments up and calls this. A repetition counts only while the machine was otherwise quiet.
"""
import argparse
import dataclasses
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time

from models import HERE, Models
from worker import busy_seconds

# Cores that others may take while a repetition counts; the clock tick makes short ones look up to 0.1 worse.
QUIET = 0.15
OPENVINO = ["DYNAMIC_QUANTIZATION_GROUP_SIZE=128", "KV_CACHE_PRECISION=u8"]


@dataclasses.dataclass
class Row:
    name: str
    what: str
    source: str
    options: list
    engine: str
    peer: str
    peer_options: list
    prompt: int = 512
    bars: tuple = (None, None)  # Least ratios: prefill, decode.
    peak: str = "int8_peak_gop_s"


INT4 = ["--quant", "int4"]
# A KV of 16 bits, as llama.cpp's: tiles multiply bf16.
with open("/proc/cpuinfo", encoding="utf-8") as cpus:
    KV16 = ["--kv", "bf16"] if "amx_tile" in cpus.read() else []
FLOAT_PEAK = "bf16_peak_gflop_s"  # f32 where the CPU has no bf16 products.
ROWS = [
    Row("openvino-int4", "0.5B int4 group 128, head and KV int8; OpenVINO u4 group 128, head and KV u8", "q05",
        [*INT4, "--kv", "int8"], "openvino", "q05-openvino-int4-g128", OPENVINO, bars=(1.15, 1.4)),
    Row("llama-int4", "0.5B int4 group 128, head int8; llama.cpp q4_0", "q05",
        [*INT4, *KV16], "llama", "q05-q4_0.gguf", [], bars=(2.8, 1.4)),
    Row("onnxruntime-int4", "0.5B int4 group 128, head int4; onnxruntime int4 block 128, head int4", "q05",
        [*INT4, "--head", "int4"], "onnxruntime", "q05-onnxruntime-int4-b128", [], bars=(None, 1.25)),
    Row("openvino-8192", "0.5B int4 group 128, KV int8; OpenVINO u4 group 128, KV u8", "q05",
        [*INT4, "--kv", "int8", "--context", "8448"], "openvino", "q05-openvino-int4-g128", OPENVINO, 8192, (1.2, 1.5)),
    Row("llama-f16", "0.5B f16, --quant none --math fast; llama.cpp f16", "q05-f16.gguf",
        ["--quant", "none", "--math", "fast"], "llama", "q05-f16.gguf", [], bars=(1.3, 1.1), peak=FLOAT_PEAK),
    Row("openvino-f16", "0.5B f16, --quant none --math fast; OpenVINO f16", "q05-f16.gguf",
        ["--quant", "none", "--math", "fast"], "openvino", "q05-openvino-f16", [], peak=FLOAT_PEAK),
    Row("keep-q4_0", "0.5B q4_0, the same file; llama.cpp", "q05-q4_0.gguf", ["--math", "fast", *KV16],
        "llama", "q05-q4_0.gguf", [], bars=(2, 1.3)),
    Row("keep-q4_k_m", "1.5B q4_k_m, the same file; llama.cpp", "q15-q4_k_m.gguf", ["--math", "fast", *KV16],
        "llama", "q15-q4_k_m.gguf", [], bars=(2, 1.3)),
    Row("llama-mamba2", "mamba2-370m int4, head int8, states f32; llama.cpp q4_0", "mamba2-370m-f16.gguf", INT4,
        "llama", "mamba2-370m-q4_0.gguf", [], bars=(3, 1.3)),
    Row("llama-mamba2-2048", "mamba2-370m int4, head int8, states f32; llama.cpp q4_0", "mamba2-370m-f16.gguf", INT4,
        "llama", "mamba2-370m-q4_0.gguf", [], 2048, (3, None)),
    Row("llama-hybrid", "700M hybrid int4, head int8, states f32; llama.cpp q4_0", "hybrid-700m-f16.gguf", INT4,
        "llama", "hybrid-700m-q4_0.gguf", [], bars=(2.8, 1.2)),
    Row("llama-hybrid-2048", "700M hybrid int4, head int8, states f32; llama.cpp q4_0", "hybrid-700m-f16.gguf", INT4,
        "llama", "hybrid-700m-q4_0.gguf", [], 2048, (2.8, None)),
    Row("llama-moe", "1.3B mixture int4, 8 of 32 experts; llama.cpp q4_0", "moe-1.3b-f16.gguf", INT4,
        "llama", "moe-1.3b-q4_0.gguf", [], bars=(3, 1.3)),
    Row("dense-moe", "1.3B mixture int4, 8 of 32 experts; mlc, the dense model of the size a token uses", "moe-1.3b-f16.gguf",
        INT4, "mlc", "moe-1.3b-dense-f16.gguf", INT4, bars=(0.65, 0.9)),
]


class Worker:
    """A loaded engine, stopped whenever it is not its turn: idle threads of some engines spin."""

    def __init__(self, command, log):
        with open(log, "w", encoding="utf-8") as stream:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream,
                                            text=True)
        self.log = log
        self.ready = self.answer(600)
        self.process.send_signal(signal.SIGSTOP)

    def answer(self, limit):
        signal.alarm(int(limit) + 1)
        try:
            line = self.process.stdout.readline()
        except TimeoutError:
            raise RuntimeError(f"no answer in {limit:.0f} s: {' '.join(self.process.args)}") from None
        finally:
            signal.alarm(0)
        if not line:
            with open(self.log, encoding="utf-8", errors="replace") as stream:
                raise RuntimeError(f"{' '.join(self.process.args)}: {stream.read()[-600:].strip()}")
        return json.loads(line)

    def run(self, prompt, new, limit):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{prompt} {new}\n")
        self.process.stdin.flush()
        result = self.answer(limit)
        self.process.send_signal(signal.SIGSTOP)
        return result

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Ended(Exception):
    """SIGTERM or SIGINT: a table of what there is, and no worker left behind, which would stay stopped for ever."""


def end_on(number, _frame):
    if number == signal.SIGALRM:
        raise TimeoutError
    signal.signal(number, signal.SIG_IGN)
    raise Ended


def wait_for_quiet(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start, before = time.monotonic(), busy_seconds()
        time.sleep(0.3)
        if (busy_seconds() - before) / (time.monotonic() - start) <= QUIET:
            return


def ceilings(row, arguments, artifact):
    command = [arguments.mlc, "bench", artifact, "-p", "1", "-n", "0", "-r", "1", "--context", "64",
               "--threads", str(arguments.threads), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)
    kept = {key: value for key, value in report.items() if key.endswith(("_gb_s", "_gop_s", "_gflop_s"))}
    kept["peak"] = kept.get(row.peak, kept["f32_peak_gflop_s"])
    kept["weight_bytes_per_token"] = report["weight_bytes_per_token"]
    kept["operations_per_prompt_token"] = (report["fraction_of_peak"] * report["int8_peak_gop_s"] * 1e9 /
                                           report["prompt_tokens_per_s"]["median"])
    return kept


def spread(runs, phase, tokens):
    rates = [tokens / run[phase + "_s"] for run in runs if run[phase + "_others"] <= QUIET]
    quiet = len(rates)
    # Too busy a machine: the figures stand, marked.
    rates = rates if quiet >= 2 else [tokens / run[phase + "_s"] for run in runs]
    return dict(median=statistics.median(rates), min=min(rates), max=max(rates), quiet=quiet, runs=len(runs))


def sides_of(row, arguments, models):
    """side -> the command of its worker; the peer's side comes second."""
    library = os.path.abspath(os.path.join(os.path.dirname(arguments.mlc), "..", "lib", "libmlc.so"))

    def ours(source, options):
        return [sys.executable, f"{HERE}/worker.py", "mlc", models.artifact(source, options + arguments.ours), f"library={library}"]

    mine = ours(row.source, row.options)
    if row.engine == "mlc":
        return {"mlc": mine, "mlc-peer": ours(row.peer, row.peer_options)}
    python = models.pythons["llama" if row.engine == "llama" else "peers"]
    return {"mlc": mine, row.engine: [python, f"{HERE}/worker.py", row.engine, models.get(row.peer), *row.peer_options]}


def measure(row, arguments, models):
    artifact = models.artifact(row.source, row.options + arguments.ours)
    positions = row.prompt + arguments.new + 64
    commands = sides_of(row, arguments, models)
    _, peer = commands
    end = time.monotonic() + arguments.seconds
    measured, workers, runs = [ceilings(row, arguments, artifact)], {}, {side: [] for side in commands}
    ended = False
    try:
        for side, command in commands.items():
            command += ["--threads", str(arguments.threads), "--positions", str(positions)]
            workers[side] = Worker(command, os.path.join(models.folder, f"{row.name}-{side}.log"))
        for round_number in range(arguments.rounds):
            if round_number and time.monotonic() > end:
                break
            for side, worker in workers.items():
                wait_for_quiet(min(arguments.wait, max(1, end - time.monotonic())))
                run = worker.run(row.prompt, arguments.new, arguments.seconds)
                runs[side].append(run)
                print(f"{row.name} {round_number + 1}/{arguments.rounds} {side}: prefill "
                      f"{row.prompt / run['prompt_s']:.1f} decode {(arguments.new - 1) / run['new_s']:.1f} tokens/s, "
                      f"others {run['prompt_others']:.2f} {run['new_others']:.2f} cores", file=sys.stderr, flush=True)
    except Ended:
        if not all(runs.values()):
            raise
        ended = True
    finally:
        for worker in workers.values():
            worker.close()
    if not ended:
        measured.append(ceilings(row, arguments, artifact))
    # The memory of a rented machine drifts by a factor of two: the mean of before and after stands for the time between.
    limits = {key: statistics.mean(one[key] for one in measured) for key in measured[0]}
    result = dict(row=row.name, what=row.what, prompt=row.prompt, compile=row.options + arguments.ours,
                  ceilings=limits, ceilings_measured=measured, ended=ended, phases={},
                  peak_rss_bytes={side: runs[side][-1]["peak_rss_bytes"] for side in runs})
    for phase, key, tokens, bar in (("prefill", "prompt", row.prompt, row.bars[0]),
                                    ("decode", "new", arguments.new - 1, row.bars[1])):
        sides = {side: spread(runs[side], key, tokens) for side in runs}
        result["phases"][phase] = dict(mlc=sides["mlc"], peer=sides[peer], bar=bar,
                                       ratio=sides["mlc"]["median"] / sides[peer]["median"])
    return result


def cell(values):
    busy = "" if values["quiet"] >= 2 else " (busy)"
    return f"{values['median']:.1f} ({values['min']:.1f}..{values['max']:.1f}){busy}"


def markdown(results, machine):
    lines = [f"{machine['cpu']}, {machine['threads']} threads; tokens/s, medians (lowest..highest) of repetitions in "
             "turns; *busy*: the machine was not quiet.", "",
             "| row | phase | mlc | peer | ratio | bar | of the ceiling |", "|---|---|---|---|---|---|---|"]
    for result in results:
        if "error" in result:
            lines.append(f"| {result['row']} | | failed: {result['error'][:200]} | | | | |")
            continue
        limits = result["ceilings"]
        for phase, values in result["phases"].items():
            bar = "" if values["bar"] is None else f"{values['bar']:.2f} " + (
                "met" if values["ratio"] >= values["bar"] else "**missed**")
            rate = values["mlc"]["median"]
            share = (f"{rate * limits['operations_per_prompt_token'] / limits['peak'] * 1e-9:.2f} of "
                     f"{limits['peak']:.0f} GOP/s" if phase == "prefill" else
                     f"{rate * limits['weight_bytes_per_token'] / limits['read_bandwidth_gb_s'] * 1e-9:.2f} of "
                     f"{limits['read_bandwidth_gb_s']:.1f} GB/s")
            lines.append(f"| {result['row']} | {phase} {result['prompt']} | {cell(values['mlc'])} | "
                         f"{cell(values['peer'])} | {values['ratio']:.2f} | {bar} | {share} |")
    lines += ["", "Rows:", *(f"- {r['row']}: {r['what']}" for r in results if "what" in r)]
    return "\n".join(lines) + "\n"


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0],
                                     epilog="rows: " + ", ".join(row.name for row in ROWS))
    parser.add_argument("--rows", default="all", help="names with commas between them (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each side")
    parser.add_argument("--new", type=int, default=65, help="tokens generated; the first one ends the prefill")
    parser.add_argument("--seconds", type=float, default=120, help="a row starts no further round after this")
    parser.add_argument("--wait", type=float, default=10, help="seconds to wait for a quiet machine, each time")
    parser.add_argument("--ours", type=str.split, default=[], metavar="OPTIONS", help="further options of mlc compile")
    parser.add_argument("--models", default="build/peers/models", help="where the models are made")
    parser.add_argument("--out", default="build/peers/table", help="writes OUT.md and OUT.json")
    parser.add_argument("--mlc", default="build/bin/mlc")
    parser.add_argument("--peers-python", default="build/peers/env/bin/python")
    parser.add_argument("--llama-python", default="build/peers/llama/bin/python")
    parser.add_argument("--only-models", action="store_true", help="make the models of the rows and stop")
    arguments = parser.parse_args()
    arguments.mlc = os.path.abspath(arguments.mlc)
    names = [row.name for row in ROWS] if arguments.rows == "all" else arguments.rows.split(",")
    for name in names:
        if name not in [row.name for row in ROWS]:
            parser.error(f"--rows {name}: there are {', '.join(row.name for row in ROWS)}")
    models = Models(arguments.models, {"peers": os.path.abspath(arguments.peers_python),
                                       "llama": os.path.abspath(arguments.llama_python)}, arguments.mlc)
    rows, results = [row for row in ROWS if row.name in names], []
    for row in rows:
        sides_of(row, arguments, models)  # Makes the models.
    if arguments.only_models:
        return
    signal.signal(signal.SIGALRM, end_on)
    signal.signal(signal.SIGTERM, end_on)
    signal.signal(signal.SIGINT, end_on)
    machine = dict(cpu=cpu_name(), threads=arguments.threads)
    for row in rows:
        try:
            results.append(measure(row, arguments, models))
        except Ended:
            results.append(dict(row=row.name, what=row.what, error="ended by a signal", ended=True))
        except (RuntimeError, subprocess.SubprocessError) as error:
            results.append(dict(row=row.name, what=row.what, error=" ".join(str(error).split())))
        # Whatever happens to a later row, the earlier ones are on disk.
        os.makedirs(os.path.dirname(os.path.abspath(arguments.out)), exist_ok=True)
        with open(arguments.out + ".md", "w", encoding="utf-8") as file:
            file.write(markdown(results, machine))
        with open(arguments.out + ".json", "w", encoding="utf-8") as file:
            json.dump(dict(machine=machine, rows=results), file, indent=1)
        if results[-1].get("ended"):
            break
    print(markdown(results, machine), end="")
    if any("error" in result for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
