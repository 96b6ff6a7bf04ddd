#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Tiny checkpoints with drawn configurations, by mlc beside transformers.

    python3 random_configs.py --mlc build/bin/mlc [--count 200] [--seed 1] [--family bamba ...] [--keep DIR]

The recorded cases hold one configuration each; this draws sizes, biases, norms,
multipliers, layer patterns, router forms and RoPE parameters that the family's
configuration allows, gives every weight a random value, and compares the logits of
a prompt of 1 to 90 tokens, cut into steps of drawn lengths: from the checkpoint, from
the same with the configuration in the spelling of transformers 4, and from a GGUF file
where the format can say what was drawn. Exit status 1 if one differs by more than 1e-4
of the largest (or by more than 20 times what float32 itself is from float64), or mlc
refuses what transformers runs. --keep keeps the checkpoints of those. Needs what
make_checkpoints.py needs.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from transformers import AutoModelForCausalLM

import gguf_forms
import gguf_hybrids
import make_checkpoints
import oracle

FULL, SLIDING, LINEAR = "full_attention", "sliding_attention", "linear_attention"


class Draw(random.Random):
    def flag(self, share=0.5):
        return self.random() < share

    def near(self, low=0.5, high=2.0):
        return round(self.uniform(low, high), 3)

    def pattern(self, kinds, length):
        """Kinds in any order, each at least once where they fit."""
        layers = [self.choice(kinds) for _ in range(length)]
        for i, kind in enumerate(self.sample(range(length), min(length, len(kinds)))):
            layers[kind] = kinds[i]
        return layers


def rope(d):
    theta = d.choice([500.0, 10000.0, 1e6])
    kind = d.choice(["default", "default", "linear", "llama3", "yarn"])
    p = dict(rope_type=kind, rope_theta=theta)
    if kind != "default":
        p["factor"] = d.choice([2.0, 4.0, 8.0])
    if kind == "llama3":
        p |= dict(low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=40)
    if kind == "yarn":
        p |= dict(original_max_position_embeddings=40)
        if d.flag(0.3):
            p |= dict(beta_fast=d.choice([4.0, 24.0]), beta_slow=d.choice([0.5, 1.0]))
        if d.flag(0.3):
            p |= dict(attention_factor=d.near(0.7, 1.3))
    return dict(rope_parameters=p)


def attention(d, **more):
    kv = d.choice([1, 1, 2, 3])
    heads, head = kv * d.choice([1, 2, 3]), d.choice([6, 8, 10, 16])
    hidden = heads * head if d.flag(0.7) else 2 * d.randint(8, 20)
    return dict(hidden_size=hidden, intermediate_size=d.randint(9, 60), num_hidden_layers=d.randint(1, 4),
                num_attention_heads=heads, num_key_value_heads=kv, head_dim=head, vocab_size=d.randint(50, 140),
                max_position_embeddings=320, tie_word_embeddings=d.flag(), rms_norm_eps=d.choice([1e-6, 1e-5, 1e-2])) | more


def whole_heads(c):
    """Of families whose head_dim follows from the hidden size."""
    head = c.pop("head_dim")
    return c | dict(hidden_size=c["num_attention_heads"] * head)


def window(d, c):
    if d.flag():
        return c | dict(sliding_window=d.choice([3, 8, 20]))
    return c | dict(sliding_window=None)


def windowed_layers(d, c):
    n = c["num_hidden_layers"]
    if d.flag():
        c |= dict(use_sliding_window=True, sliding_window=d.choice([5, 16]), layer_types=d.pattern([FULL, SLIDING], n))
    return c


def biases(d, *names):
    return {name: d.flag() for name in names}


def multipliers(d):
    return dict(embedding_multiplier=d.near(), residual_multiplier=d.near(), attention_multiplier=d.near(0.1, 0.6),
                logits_scaling=d.near())


def llama(d):
    c = attention(d) | biases(d, "attention_bias", "mlp_bias")
    return c | rope(d)


def mistral(d):
    c = window(d, attention(d))
    return c | rope(d)


def qwen2(d):
    c = windowed_layers(d, whole_heads(attention(d)))
    return c | rope(d)


def qwen3(d):
    c = windowed_layers(d, attention(d)) | biases(d, "attention_bias")
    return c | rope(d)


def gemma2(d):
    c = attention(d, query_pre_attn_scalar=d.choice([6, 10, 24]), sliding_window=d.choice([5, 16]),
                  attn_logit_softcapping=d.choice([None, 4.0, 30.0]), final_logit_softcapping=d.choice([None, 6.0, 30.0]))
    c["layer_types"] = d.pattern([FULL, SLIDING], c["num_hidden_layers"])
    return c | biases(d, "attention_bias") | rope(d)


def smollm3(d):
    c = whole_heads(attention(d)) | biases(d, "attention_bias", "mlp_bias")
    c["no_rope_layers"] = d.pattern([0, 1], c["num_hidden_layers"])
    return windowed_layers(d, c) | rope(d)


def phi3(d):
    c = window(d, whole_heads(attention(d)))
    head = c["hidden_size"] // c["num_attention_heads"]
    return c | dict(rope_parameters=dict(rope_type="default", rope_theta=d.choice([500.0, 10000.0, 1e6]),
                                         partial_rotary_factor=d.choice([0.5, 1.0]) if head % 4 == 0 else 1.0))


def granite(d):
    c = whole_heads(attention(d)) | multipliers(d) | biases(d, "attention_bias", "mlp_bias")
    return c | rope(d)


def experts(d, count, chosen):
    n = d.randint(2, 9)
    return {count: n, chosen: d.randint(1, min(n, 4))}


def mixtral(d):
    c = window(d, attention(d)) | experts(d, "num_local_experts", "num_experts_per_tok")
    return c | rope(d)


def some_dense(d, c):
    n = c["num_hidden_layers"]
    if n > 1 and d.flag():
        c |= dict(mlp_only_layers=sorted(d.sample(range(n), d.randint(1, n - 1))))
    elif n > 1 and d.flag():
        c |= dict(decoder_sparse_step=2)
    return c


def qwen2_moe(d):
    c = windowed_layers(d, whole_heads(attention(d))) | experts(d, "num_experts", "num_experts_per_tok")
    c |= dict(moe_intermediate_size=d.randint(4, 30), shared_expert_intermediate_size=d.randint(4, 30),
              norm_topk_prob=d.flag()) | biases(d, "qkv_bias")
    return some_dense(d, c) | rope(d)


def qwen3_moe(d):
    c = attention(d) | experts(d, "num_experts", "num_experts_per_tok") | biases(d, "attention_bias")
    c |= dict(moe_intermediate_size=d.randint(4, 30), norm_topk_prob=d.flag())
    return some_dense(d, c) | rope(d)


def granitemoe(d):
    c = whole_heads(attention(d)) | multipliers(d) | experts(d, "num_local_experts", "num_experts_per_tok")
    return c | biases(d, "attention_bias") | rope(d)


def granitemoeshared(d):
    return granitemoe(d) | dict(shared_intermediate_size=d.choice([0, 12, 20]))


def olmoe(d):
    c = whole_heads(attention(d)) | experts(d, "num_experts", "num_experts_per_tok") | biases(d, "attention_bias")
    return c | dict(norm_topk_prob=d.flag()) | rope(d)


def grouped_experts(d):
    groups, each = d.choice([1, 2, 4]), d.randint(2, 4)
    best = d.randint(1, groups)
    return dict(n_routed_experts=groups * each, n_group=groups, topk_group=best,
                num_experts_per_tok=d.randint(1, best * each), moe_intermediate_size=d.randint(4, 30),
                routed_scaling_factor=d.near(), norm_topk_prob=d.flag())


def glm4_moe(d):
    c = attention(d) | grouped_experts(d) | biases(d, "attention_bias", "use_qk_norm")
    c |= dict(n_shared_experts=d.choice([1, 2]), first_k_dense_replace=d.randint(0, c["num_hidden_layers"] - 1),
              num_mtp_layers=0)
    c |= rope(d)
    c["rope_parameters"]["partial_rotary_factor"] = d.choice([0.5, 1.0]) if c["head_dim"] % 4 == 0 else 1.0
    return c


def mamba(d, heads, head, groups, state, conv, chunk):
    g = d.choice([1, 1, 2, 3])
    return {heads: g * d.randint(1, 4), head: 2 * d.randint(2, 10), groups: g, state: d.randint(3, 20),
            conv: d.choice([2, 3, 4]), chunk: d.choice([4, 16, 64, 256])}


def inner_mamba(d, c):
    c |= mamba(d, "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv", "mamba_chunk_size")
    c["mamba_conv_bias"], c["mamba_proj_bias"] = d.flag(), d.flag()
    return c


def fit_heads(d, c):
    """Attention heads that divide a hidden size given by the mixer's width (expand 2)."""
    c["mamba_expand"] = 2
    c["hidden_size"] = c["mamba_n_heads"] * c["mamba_d_head"] // 2
    heads = [h for h in (1, 2, 3, 4, 6) if c["hidden_size"] % (2 * h) == 0] or [1]
    kv = d.choice(heads)
    c["num_attention_heads"] = d.choice([h for h in heads if h % kv == 0])
    c["num_key_value_heads"] = kv
    return c


def mamba2(d):
    m = mamba(d, "num_heads", "head_dim", "n_groups", "state_size", "conv_kernel", "chunk_size")
    return m | dict(hidden_size=m["num_heads"] * m["head_dim"] // 2, expand=2, num_hidden_layers=d.randint(1, 4),
                    vocab_size=d.randint(50, 140), tie_word_embeddings=d.flag(), use_bias=d.flag(),
                    use_conv_bias=d.flag(), layer_norm_epsilon=d.choice([1e-5, 1e-2]),
                    time_step_limit=d.choice([[0.0, float("inf")], [0.05, 0.9]]))


def granitemoehybrid(d):
    c = fit_heads(d, inner_mamba(d, whole_heads(attention(d)))) | multipliers(d) | biases(d, "attention_bias")
    c["layer_types"] = d.pattern([LINEAR, FULL], c["num_hidden_layers"])
    c["shared_intermediate_size"] = d.randint(9, 60)
    c |= experts(d, "num_local_experts", "num_experts_per_tok") if d.flag() else dict(
        num_local_experts=0, num_experts_per_tok=0)
    c["position_embedding_type"] = d.choice(["rope", None])
    return c | rope(d)


def bamba(d):
    c = fit_heads(d, inner_mamba(d, whole_heads(attention(d)))) | biases(d, "attention_bias", "mlp_bias")
    n = c["num_hidden_layers"]
    c["attn_layer_indices"] = sorted(d.sample(range(n), d.randint(0, n - 1)))
    head = c["hidden_size"] // c["num_attention_heads"]
    return c | dict(rope_parameters=dict(rope_type="default", rope_theta=d.choice([500.0, 10000.0]),
                                         partial_rotary_factor=d.choice([0.5, 1.0]) if head % 4 == 0 else 1.0))


def falcon_h1(d):
    c = inner_mamba(d, attention(d)) | biases(d, "attention_bias", "mlp_bias", "projectors_bias", "mamba_rms_norm",
                                              "mamba_norm_before_gate")
    c["mamba_d_ssm"] = c["mamba_n_heads"] * c["mamba_d_head"]
    c["mamba_expand"] = 2
    for name in ("lm_head", "embedding", "key", "attention_out", "attention_in", "ssm_in", "ssm_out"):
        c[name + "_multiplier"] = d.near()
    c["mlp_multipliers"] = [d.near(), d.near()]
    c["ssm_multipliers"] = [d.near() for _ in range(5)]
    return c | rope(d)


def nemotron_h(d):
    c = attention(d) | biases(d, "mlp_bias", "use_bias", "use_conv_bias")
    c |= mamba(d, "mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel", "chunk_size")
    kinds = [LINEAR, "mlp", FULL] + (["moe"] if d.flag() else [])
    c.pop("num_hidden_layers")
    c["layers_block_type"] = d.pattern(kinds, d.randint(len(kinds), 6))
    c["layer_norm_epsilon"] = c.pop("rms_norm_eps")
    if "moe" in kinds:
        c |= grouped_experts(d) | dict(moe_shared_expert_intermediate_size=d.randint(4, 30))
        c["n_shared_experts"] = 1
    c["time_step_min"] = d.choice([1e-6, 0.02])
    return c | dict(tie_word_embeddings=False)  # transformers does not tie them, whatever is said.


FAMILIES = {f.__name__: f for f in (
    llama, mistral, qwen2, qwen3, gemma2, smollm3, phi3, granite, mixtral, qwen2_moe, qwen3_moe, granitemoe,
    granitemoeshared, olmoe, glm4_moe, mamba2, granitemoehybrid, bamba, falcon_h1, nemotron_h)}

IN_GGUF = {"llama", "qwen2", "qwen3", "mixtral", "qwen3_moe", "granite", "granitemoe", "olmoe"} | set(
    gguf_hybrids.ARCHITECTURES)


def is_sayable(family, fields):
    """Whether the writers of GGUF here know all that was drawn."""
    rope = fields.get("rope_parameters", {})
    plain = not (rope.keys() & {"beta_fast", "attention_factor"} or fields.get("sliding_window")
                 or fields.get("mlp_only_layers") or fields.get("decoder_sparse_step"))
    if family == "falcon_h1":  # Its multipliers go into weights, which biases stand behind.
        plain = plain and not any(v for k, v in fields.items() if k.endswith(("_bias", "_rms_norm")) and k != "mamba_conv_bias")
    if family in ("olmoe", "qwen3_moe"):  # The architecture says which.
        plain = plain and fields["norm_topk_prob"] == (family == "qwen3_moe")
    if family in gguf_hybrids.ARCHITECTURES:
        return plain and rope.get("rope_type", "default") == "default" and "moe" not in fields.get(
            "layers_block_type", ()) and (family == "nemotron_h" or not fields.get("attention_bias"))
    return family in IN_GGUF and plain and not fields.get("attention_bias") and not fields.get("mlp_bias")


def write_forms(family, fields, directory, temporary):
    """(what it is, its path) of each form of the checkpoint."""
    forms = [("config.json", directory)]
    old = os.path.join(temporary, "old")
    shutil.copytree(directory, old)
    config = make_checkpoints.read_json(os.path.join(old, "config.json"))
    # Version 4 had no field for any order of windowed layers, nor for what Bamba rotates.
    if family != "bamba" and (family in gguf_hybrids.ARCHITECTURES or "layer_types" not in fields):
        make_checkpoints.write_json(os.path.join(old, "config.json"), make_checkpoints.old_spelling(config))
        forms.append(("version 4", old))
    if is_sayable(family, fields):
        path = os.path.join(temporary, "m.gguf")
        writer = gguf_hybrids if family in gguf_hybrids.ARCHITECTURES else gguf_forms
        try:
            writer.write(path, *make_checkpoints.state_of(directory), make_checkpoints.GGUF_TYPES["f32"])
            forms.append(("GGUF", path))
        except AssertionError:
            pass
    return forms


def compare(mlc, source, prompt, steps, temporary, want, noise):
    """(what differs or None, detail)."""
    artifact, logits = (os.path.join(temporary, name) for name in ("m.mlca", "logits.npy"))
    commands = [["compile", source, "-o", artifact, "--quant", "none", "--kv", "f32", "--math", "exact", "--batch", steps],
                ["run", artifact, "--tokens", ",".join(map(str, prompt)), "--max-tokens", 1, "--json", "--logits", logits]]
    for command in commands:
        try:
            done = subprocess.run([mlc, *map(str, command)], capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return "hangs", command[0]
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["(no message)"]
            return "refused" if done.returncode == 1 else f"status {done.returncode}", lines[-1]
    got = np.load(logits)[:len(prompt)]
    apart = float(np.nan_to_num(np.abs(got - want), nan=np.inf).max() / np.abs(want).max())
    return ("differs" if apart > max(1e-4, 20 * noise) else None), f"{apart:.1e} (float64: {noise:.1e})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlc", default="build/bin/mlc")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES))
    parser.add_argument("--keep", metavar="DIR")
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    families = a.family or sorted(FAMILIES)
    bad, drawn = 0, {}
    for seed in range(a.seed, a.seed + a.count):
        d = Draw(seed)
        family = families[seed % len(families)]
        fields = FAMILIES[family](d)
        length, steps = d.choice([1, 2, 5, 17, 40, 90]), d.choice([1, 7, 16, 33, 512])
        with tempfile.TemporaryDirectory() as temporary:
            directory = os.path.join(temporary, "hf")
            try:
                config = oracle.config_of(family, **json.loads(json.dumps(fields)))
                model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
                oracle.randomize(model, seed)
                model.save_pretrained(directory)
                prompt = [d.randrange(fields["vocab_size"]) for _ in range(length)]
                want = oracle.forward(oracle.load(directory), prompt, [0]).numpy()
                with oracle.WideSoftmax():
                    wide = oracle.forward(oracle.widen(oracle.load(directory)), prompt, [0]).numpy()
            except Exception as error:  # transformers refuses this configuration: there is nothing to compare with.
                drawn.setdefault(family, []).append("not by transformers")
                reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
                print(f"{seed} {family}: not by transformers: {reason[:150]}", flush=True)
                continue
            noise = float(np.abs(wide - want).max() / np.abs(want).max())
            if not noise < 1e-3:
                drawn.setdefault(family, []).append("lost to rounding")
                continue
            for form, source in write_forms(family, fields, directory, temporary):
                what, detail = compare(a.mlc, source, prompt, steps, temporary, want, noise)
                drawn.setdefault(family, []).append(f"{what or 'same'} from {form}")
                print(f"{seed} {family} {form}: {what or 'same'}: {detail}", flush=True)
                if what:
                    bad += 1
                    print("   ", json.dumps(fields | dict(prompt=length, steps=steps)), flush=True)
                    if a.keep:
                        kept = os.path.join(a.keep, f"{seed}-{family}")
                        shutil.copytree(temporary, kept, dirs_exist_ok=True)
    for family, results in sorted(drawn.items()):
        print(f"{family}: " + ", ".join(f"{results.count(r)} {r}" for r in sorted(set(results))))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
