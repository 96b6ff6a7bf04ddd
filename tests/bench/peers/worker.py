"""One engine that stays loaded, in its own Python environment.

    worker.py mlc|llama|openvino|onnxruntime MODEL --threads N --positions P [KEY=VALUE ...]

Prints {"ready": ...} once loaded and warm. Then answers each line "PROMPT NEW" with one of JSON: seconds until the first
token of a random prompt of PROMPT tokens was there, seconds of the NEW - 1 tokens after it, and how many cores other
processes (and the host) took meanwhile. Only one worker of a comparison runs at a time; the others are stopped.
"""
import argparse
import ctypes
import json
import os
import random
import sys
import time

TICK = 1 / os.sysconf("SC_CLK_TCK")
# Ids that every tokenizer of the family has: no engine can treat them as special.
SAFE_IDS = 48000


def busy_seconds():
    """Processor seconds of the whole machine since it started: everything but idle and waiting, stolen time included."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK


class Moment:
    def __init__(self):
        self.busy, self.own, self.wall = busy_seconds(), time.process_time(), time.perf_counter()

    def since(self, start):
        """(seconds, cores that others took)"""
        wall = self.wall - start.wall
        return wall, max(0.0, (self.busy - start.busy) - (self.own - start.own)) / wall


class Mlc:
    """libmlc.so through ctypes; greedy sampling included, as in the peers' own pipelines."""

    class ModelInfo(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("vocab", "context", "batch", "rows", "sequences")] + [
            ("has_tokenizer", ctypes.c_int), ("digest", ctypes.c_uint64)]

    class SessionOptions(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint32)] + [
            (name, ctypes.c_uint64) for name in ("context", "sequences", "batch", "kv_memory")] + [
            (name, ctypes.c_uint32) for name in ("snapshots", "imports", "threads")]

    class Sampling(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint32), ("temperature", ctypes.c_float), ("top_k", ctypes.c_uint32)] + [
            (name, ctypes.c_float) for name in ("top_p", "min_p", "repetition_penalty", "presence_penalty",
                                                "frequency_penalty")] + [("seed", ctypes.c_uint64)]

    ON_TOKEN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int32)

    def __init__(self, path, threads, positions, options):
        self.library = ctypes.CDLL(options.pop("library"))
        self.library.mlc_error_text.restype = ctypes.c_char_p

        class Generation(ctypes.Structure):
            _fields_ = [("size", ctypes.c_uint32), ("max_tokens", ctypes.c_uint64), ("ignore_end", ctypes.c_int),
                        ("sampling", Mlc.Sampling), ("on_token", Mlc.ON_TOKEN), ("user", ctypes.c_void_p)]

        self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("mlc_model_open", path.encode(), None, ctypes.byref(self.model))
        session = Mlc.SessionOptions()
        self.library.mlc_session_options_init(ctypes.byref(session))
        session.context, session.sequences, session.threads = positions, 1, threads
        self.call("mlc_session_create", self.model, ctypes.byref(session), ctypes.byref(self.session))
        self.generation = Generation()
        self.library.mlc_generation_init(ctypes.byref(self.generation))
        self.generation.ignore_end = 1

    def call(self, name, *arguments):
        if getattr(self.library, name)(*arguments):
            sys.exit(f"{name}: {self.library.mlc_error_text().decode()}")

    def run(self, prompt, new, first):
        sequence = ctypes.c_uint32()
        self.call("mlc_sequence_create", self.session, ctypes.c_uint64(0), ctypes.byref(sequence))
        seen = []

        def on_token(_user, _token):
            if not seen:
                first()
            seen.append(1)
            return 1

        self.generation.on_token = Mlc.ON_TOKEN(on_token)
        self.generation.max_tokens = new
        ids = (ctypes.c_int32 * len(prompt))(*prompt)
        self.call("mlc_generate", self.session, sequence, ids, ctypes.c_size_t(len(prompt)),
                  ctypes.byref(self.generation), None)
        self.call("mlc_sequence_destroy", self.session, sequence)


class Llama:
    """llama.cpp's own decode calls; nothing is sampled, the tokens are random."""

    def __init__(self, path, threads, positions, options):
        import llama_cpp
        self.llama = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch = positions, 2048
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = int(options.pop("flash_attention", parameters.flash_attn_type))
        if "kv" in options:
            parameters.type_k = parameters.type_v = {"q8_0": 8, "f16": 1}[options.pop("kv")]
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not self.context:
            sys.exit(f"llama.cpp does not open {path}")

    def decode(self, ids):
        for at in range(0, len(ids), 2048):
            part = ids[at:at + 2048]
            tokens = (self.llama.llama_token * len(part))(*part)
            if self.llama.llama_decode(self.context, self.llama.llama_batch_get_one(tokens, len(part))):
                sys.exit("llama_decode failed")
        self.llama.llama_synchronize(self.context)

    def run(self, prompt, new, first):
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)
        self.decode(prompt)
        first()
        for token in random.choices(range(SAFE_IDS), k=new - 1):
            self.decode([token])


class OpenVino:
    def __init__(self, path, threads, _positions, options):
        import numpy
        import openvino
        import openvino_genai
        self.numpy, self.openvino, self.genai = numpy, openvino, openvino_genai
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        for key in list(options):
            value = options.pop(key)
            settings[key] = int(value) if value.isdigit() else value
        self.pipeline = openvino_genai.LLMPipeline(path, "CPU", **settings)

    def run(self, prompt, new, first):
        seen = []
        running = self.genai.StreamingStatus.RUNNING

        class Streamer(self.genai.StreamerBase):
            def write(self, _token):
                if not seen:
                    first()
                seen.append(1)
                return running

            def end(self):
                pass

        config = self.genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = new
        config.ignore_eos, config.do_sample = True, False
        ids = self.numpy.array([prompt], self.numpy.int64)
        inputs = self.genai.TokenizedInputs(self.openvino.Tensor(ids),
                                            self.openvino.Tensor(self.numpy.ones_like(ids)))
        result = self.pipeline.generate(inputs, config, Streamer())
        if result.perf_metrics.get_num_generated_tokens() != new:
            sys.exit("OpenVINO stopped early")


class OnnxRuntime:
    def __init__(self, path, threads, _positions, options):
        import numpy
        import onnxruntime_genai
        self.numpy, self.genai = numpy, onnxruntime_genai
        config = onnxruntime_genai.Config(path)
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        self.model = onnxruntime_genai.Model(config)

    def run(self, prompt, new, first):
        parameters = self.genai.GeneratorParams(self.model)
        length = len(prompt) + new + 1
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = self.genai.Generator(self.model, parameters)
        generator.append_tokens(self.numpy.array(prompt, self.numpy.int32))
        generator.generate_next_token()
        first()
        for _ in range(new - 1):
            generator.generate_next_token()


ENGINES = {"mlc": Mlc, "llama": Llama, "openvino": OpenVino, "onnxruntime": OnnxRuntime}


def memory_bytes():
    with open("/proc/self/status", encoding="ascii") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def measure(engine, prompt, new):
    ids = random.choices(range(SAFE_IDS), k=prompt)
    moments = [Moment()]
    engine.run(ids, new, lambda: moments.append(Moment()))
    moments.append(Moment())
    prompt_s, prompt_others = moments[1].since(moments[0])
    new_s, new_others = moments[2].since(moments[1])
    return dict(prompt_s=prompt_s, prompt_others=prompt_others, new_s=new_s, new_others=new_others,
                peak_rss_bytes=memory_bytes())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--positions", type=int, required=True)
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_intermixed_args()
    # Libraries print to stdout as they like; the answers go to the pipe alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    options = dict(option.split("=", 1) for option in arguments.options)
    engine = ENGINES[arguments.engine](arguments.model, arguments.threads, arguments.positions, options)
    if options:
        sys.exit(f"{arguments.engine} takes no {', '.join(options)}")
    loaded = memory_bytes()
    random.seed(1)
    measure(engine, 64, 4)
    print(json.dumps(dict(ready=1, loaded_rss_bytes=loaded)), file=answers)
    for line in sys.stdin:
        prompt, new = map(int, line.split())
        # The other side had caches and cores meanwhile; what is wanted is the speed of an engine at work.
        measure(engine, 64, 4)
        print(json.dumps(measure(engine, prompt, new)), file=answers)


if __name__ == "__main__":
    main()
