#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Makes the tiny checkpoints of the end-to-end tests and records what
transformers answers: see README.md beside this file.

    python3 make_checkpoints.py [--case NAME ...] [--ggml libggml-base.so]

Needs torch, transformers 5, safetensors, gguf and numpy; --ggml, a library of
llama.cpp, only for the block-quantized GGUF cases.
"""
import argparse
import json
import os
import shutil
import sys

import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from transformers import AutoModelForCausalLM, AutoTokenizer

import gguf_forms
import gguf_hybrids
import oracle
from cases import CASES, QUANTIZED, QUANTIZED_FIELDS
from hybrids import HYBRIDS

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = dict(f32=torch.float32, f16=torch.float16, bf16=torch.bfloat16)
GGUF_TYPES = dict(f32=Type.F32, f16=Type.F16, bf16=Type.BF16)


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def read_json(path):
    with open(path) as f:
        return json.load(f)


def compact(expected):
    """expected.json with each list of numbers on one line."""
    text = json.dumps(expected, indent=1)
    out, depth = [], 0
    for line in text.split("\n"):
        stripped = line.strip()
        number = stripped.rstrip(",").lstrip("-").replace(".", "", 1).replace("e-", "").isdigit()
        if number or (out and stripped in ("]", "],") and out[-1][-1].isdigit()):
            out[-1] += (" " if out[-1].endswith(",") else "") + stripped
        else:
            out.append(line)
    return "\n".join(out) + "\n"


def old_hybrid(c):
    """Layers and limits in the words of transformers 4, in place."""
    words = dict(linear_attention="mamba", full_attention="attention")
    if c["model_type"] == "nemotron_h":
        letters = dict(linear_attention="M", full_attention="*", mlp="-", moe="E")
        types = c.pop("layers_block_type", None) or c.pop("layer_types")
        c["hybrid_override_pattern"] = "".join(letters[t] for t in types)
        c["num_hidden_layers"] = len(types)
    elif "layer_types" in c and c["model_type"] == "granitemoehybrid":
        c["layer_types"] = [words.get(t, t) for t in c["layer_types"]]
    if "time_step_limit" in c:
        c["time_step_limit"] = [float("inf") if isinstance(v, dict) else v for v in c["time_step_limit"]]


def old_spelling(config):
    """config.json as transformers 4 wrote it."""
    c = json.loads(json.dumps(config))
    old_hybrid(c)
    if "rope_parameters" not in c:
        c["torch_dtype"] = c.pop("dtype")
        c["transformers_version"] = "4.41.2"
        return c
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        c["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    kind = rope.pop("rope_type")
    if c["model_type"] == "phi3" and kind == "longrope":
        c["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")
    # The oldest files say "type"; the later ones of version 4 "rope_type".
    key = "rope_type" if kind == "llama3" else "type"
    c["rope_scaling"] = None if kind == "default" else {**rope, key: kind}
    c["torch_dtype"] = c.pop("dtype")
    if c["model_type"] not in gguf_hybrids.ARCHITECTURES:
        c.pop("layer_types", None)
    c["transformers_version"] = "4.41.2"
    return c


def prompt_of(length, vocabulary, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (length,), generator=g).tolist()


def make_checkpoint(case, directory, seed):
    config = oracle.config_of(case.model_type, **json.loads(json.dumps(case.fields)))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    oracle.randomize(model, seed, case.sharpness)
    model = model.to(DTYPES[case.dtype])
    shard = dict(max_shard_size=case.shard) if case.shard else {}
    model.save_pretrained(directory, **shard)
    generation = os.path.join(directory, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)


def measure_runs(case, directory, seed):
    """All runs of a case, or the reason why the seed does not serve."""
    runs, kept = [], []
    for i, (name, length) in enumerate(case.runs):
        answer = oracle.measure(directory, prompt_of(length, case.fields["vocab_size"], seed * 100 + i), case.steps)
        if isinstance(answer, str):
            return f"{name}: {answer}"
        runs.append(dict(name=name, logits=f"logits-{name}.npy") | answer[0])
        kept.append(answer[1])
    return runs, kept


def measure_ablations(case, directory, runs, kept):
    out = []
    for ablation in case.ablations:
        i = ablation.get("run", 0)
        difference = oracle.ablated_difference(directory, ablation, runs[i], kept[i])
        if difference < 100 * oracle.TOLERANCE:
            return f"without {ablation['name']} the logits move by only {difference:.1e}"
        out.append(ablation | dict(run=i, difference=round(difference, 4)))
    return out


def add_stop(directory, run):
    """An end token in generation_config.json, first met late in the run."""
    tokens = run["tokens"]
    first = {t: tokens.index(t) for t in reversed(tokens)}
    token = max(first, key=first.get)
    unused = next(t for t in range(1000) if t not in first)
    write_json(os.path.join(directory, "generation_config.json"), dict(eos_token_id=[unused, token]))
    return first[token]


def state_of(directory):
    model = oracle.load(directory)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return model.config, state


def write_ggufs(case, directory):
    if not case.gguf:
        return []
    config, state = state_of(directory)
    path = os.path.join(directory, f"model-{case.dtype}.gguf")
    forms = gguf_hybrids if case.model_type in gguf_hybrids.ARCHITECTURES else gguf_forms
    forms.write(path, config, state, GGUF_TYPES[case.dtype])
    names = [os.path.basename(path)]
    if case.split:
        path = os.path.join(directory, f"split-{case.dtype}.gguf")
        gguf_forms.write(path, config, state, GGUF_TYPES[case.dtype], split=-(-len(state) // 3))
        parts = sorted(f for f in os.listdir(directory) if f.startswith("split-"))
        assert len(parts) == 3, parts
        names.append(parts[0])
    return names


def fresh(name):
    directory = os.path.join(HERE, name)
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    return directory


def finish(directory, expected, kept):
    for run, rows in zip(expected["runs"], kept):
        np.save(os.path.join(directory, run["logits"]), rows)
    with open(os.path.join(directory, "expected.json"), "w") as f:
        f.write(compact(expected))
    assert read_json(os.path.join(directory, "expected.json")) == json.loads(json.dumps(expected))
    size = sum(os.path.getsize(os.path.join(directory, f)) for f in os.listdir(directory))
    gap = min(r["smallest_gap"] for r in expected["runs"])
    entropy = max(r["attention_entropy"] for r in expected["runs"])
    wide = max(r["float64_difference"] for r in expected["runs"])
    distinct = [len(set(r["tokens"])) for r in expected["runs"]]
    print(f"{os.path.basename(directory)}: seed {expected['seed']}, {size // 1024} KiB, gap {gap:.1e}, "
          f"entropy {entropy}, float64 {wide:.1e}, distinct tokens {distinct}, without "
          + ", ".join(f"{a['name']} {a['difference']}" for a in expected["ablations"]), flush=True)


def make(case):
    for seed in range(case.seed, case.seed + 60):
        directory = fresh(case.name)
        make_checkpoint(case, directory, seed)
        answer = measure_runs(case, directory, seed)
        reason = answer
        if not isinstance(answer, str):
            runs, kept = answer
            reason = ablations = measure_ablations(case, directory, runs, kept)
        if not isinstance(reason, str):
            break
        print(f"  {case.name} seed {seed}: {reason}", flush=True)
    else:
        sys.exit(f"{case.name}: no seed serves")
    configs = ["config.json"]
    if case.old:
        write_json(os.path.join(directory, "config-v4.json"), old_spelling(read_json(os.path.join(directory, "config.json"))))
        configs.append("config-v4.json")
        same = oracle.ablated_difference(directory, {}, runs[0], kept[0], "config-v4.json")
        assert same < 1e-6, (case.name, same)
    if case.stop:
        runs[0]["stop_at"] = add_stop(directory, runs[0])
    expected = dict(case=case.name, seed=seed, transformers=transformers.__version__, torch=torch.__version__.split("+")[0],
                    configs=configs, ggufs=write_ggufs(case, directory), runs=runs, ablations=ablations)
    for i, replaced in enumerate(case.overrides):  # the configuration must differ without the option
        assert oracle.ablated_difference(directory, replaced, runs[0], kept[0]) > 100 * oracle.TOLERANCE, (case.name, i)
        expected["overrides"] = case.overrides
    if case.context:
        expected["context"] = case.context
    finish(directory, expected, kept)


def make_quantized(kind, quantizer):
    """A one-layer Llama whose matrices are stored as blocks of one type."""
    name = "gguf-" + kind.name.lower()
    for seed in range(1, 60):
        directory = fresh(name)
        config = oracle.config_of("llama", **QUANTIZED_FIELDS)
        model = AutoModelForCausalLM.from_config(config)
        oracle.randomize(model, seed)
        state = {k: v.numpy() for k, v in model.state_dict().items() if k != "lm_head.weight"}
        path = os.path.join(directory, "model.gguf")
        gguf_forms.write(path, config, state, kind, quantizer)
        rounded = gguf_forms.read_tensors(path, config, state)
        model.load_state_dict({k: torch.from_numpy(v) for k, v in rounded.items()}, strict=False)
        model.tie_weights()
        temporary = os.path.join(directory, "hf")
        model.save_pretrained(temporary)
        answer = oracle.measure(temporary, prompt_of(24, config.vocab_size, seed))
        shutil.rmtree(temporary)
        if not isinstance(answer, str):
            break
        print(f"  {name} seed {seed}: {answer}", flush=True)
    else:
        sys.exit(f"{name}: no seed serves")
    run = dict(name="main", logits="logits-main.npy") | answer[0]
    finish(directory, dict(case=name, seed=seed, transformers=transformers.__version__,
                           torch=torch.__version__.split("+")[0], configs=[], ggufs=["model.gguf"],
                           runs=[run], ablations=[]), [answer[1]])


# Case -> (held-out text, between its pieces, pieces of a prompt, name of a run, runs).
SHIPPED = {"shakespeare": [("validation.txt", "\n\n", 2, "speech", 3)],
           "chimera-nano": [("validation-hi.txt", "\n", 1, "hi", 2), ("validation-en.txt", "\n", 1, "en", 2)]}


def shipped_prompts(checkpoint, sources):
    """(runs wanted, [(name of a run, text)]) of each held-out text."""
    for file, between, count, name, wanted in sources:
        with open(os.path.join(checkpoint, file), encoding="utf-8") as f:
            pieces = f.read().split(between)
        yield wanted, [(f"{name}-{i}", between.join(pieces[i:i + count]) + between) for i in range(0, len(pieces), 7)]


def make_shipped(case):
    """A shipped model, with text: the tokenizer takes part."""
    directory = fresh(case)
    checkpoint = os.path.join(os.path.dirname(os.path.dirname(HERE)), "models", case)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    runs, kept = [], []
    for wanted, prompts in shipped_prompts(checkpoint, SHIPPED[case]):
        for name, text in prompts:
            prompt = tokenizer(text)["input_ids"]
            if not wanted:
                break
            if not 24 <= len(prompt) <= 120:
                continue
            answer = oracle.measure(checkpoint, prompt)
            if isinstance(answer, str):
                print(f"  {case}, {name}: {answer}", flush=True)
                continue
            wanted -= 1
            generated = tokenizer.decode(answer[0]["tokens"], clean_up_tokenization_spaces=False)
            runs.append(dict(name=name, logits=f"logits-{name}.npy", prompt_text=text, text=generated) | answer[0])
            kept.append(answer[1][-6:])
            runs[-1]["rows"] = runs[-1]["rows"][-6:]  # the rows are wide
    finish(directory, dict(case=case, seed=0, transformers=transformers.__version__,
                           torch=torch.__version__.split("+")[0], checkpoint="models/" + case,
                           configs=["config.json"], ggufs=[], runs=runs, ablations=[]), kept)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--case", action="append", help="only these")
    p.add_argument("--ggml", help="path of libggml-base.so")
    a = p.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for case in CASES + HYBRIDS:
        if not a.case or case.name in a.case:
            make(case)
    for case in SHIPPED:
        if not a.case or case in a.case:
            make_shipped(case)
    for kind in QUANTIZED:
        if a.ggml and (not a.case or "gguf-" + kind.lower() in a.case):
            make_quantized(Type[kind], gguf_forms.Quantizer(a.ggml))


if __name__ == "__main__":
    main()
