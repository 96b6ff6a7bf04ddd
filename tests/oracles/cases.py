# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The tiny checkpoints: geometry, prompts, and what must break each test."""
from dataclasses import dataclass, field


@dataclass
class Case:
    name: str
    model_type: str
    fields: dict
    runs: list = field(default_factory=lambda: [("main", 44)])  # (name, prompt length)
    ablations: list = field(default_factory=list)
    dtype: str = "f32"
    shard: str | None = None  # max_shard_size
    old: bool = False  # also a config-v4.json
    gguf: bool = False
    split: bool = False  # also a GGUF of three files
    stop: bool = False  # an end token in generation_config.json
    context: int | None = None  # for --context, where the model's own is the unscaled one
    overrides: list = field(default_factory=list)  # other configurations that options make equal to this one
    steps: int = 200  # greedy tokens of a run
    sharpness: float = 1.6
    seed: int = 1


def geometry(hidden, intermediate, layers, heads, kv_heads, vocabulary, **more):
    return dict(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
                num_attention_heads=heads, num_key_value_heads=kv_heads, vocab_size=vocabulary,
                max_position_embeddings=320, tie_word_embeddings=False) | more


def rope(kind="default", theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))


def put(path, value):
    return dict(op="replace", path=path, value=value)


def without(name, *patch, zero=(), run=0):
    return dict(name=name, patch=list(patch), zero=list(zero), run=run)


def unscaled(theta=10000.0, run=0, **more):
    return without("rope scaling", put("/rope_parameters", dict(rope_type="default", rope_theta=theta, **more)), run=run)


def unscaled_dynamic(positions):
    """Without scaling the configuration itself must cover the positions."""
    plain = unscaled()
    plain["patch"].append(put("/max_position_embeddings", positions))
    return plain


def override(option, **parameters):
    """--rope OPTION on a configuration with these rope_parameters."""
    return dict(options=["--rope", option], patch=[put("/rope_parameters", dict(rope_theta=10000.0, **parameters))])


def biases(layers, *names):
    return [f"model.layers.{i}.{n}.bias" for i in range(layers) for n in names]


QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
FULL = "full_attention"
SLIDING = "sliding_attention"
SHORT_FACTORS = [1.0, 1.1, 1.3, 1.4, 1.7, 2.0]
LONG_FACTORS = [1.0, 1.6, 2.7, 4.5, 6.0, 9.5]

LLAMA = [
    Case("llama", "llama", geometry(36, 44, 2, 3, 1, 97, **rope()), gguf=True, old=True,
         overrides=[override("none", rope_type="linear", factor=3.0)],
         ablations=[without("rope theta", put("/rope_parameters/rope_theta", 500.0)),
                    without("norm epsilon", put("/rms_norm_eps", 0.3))]),
    Case("llama-mha-odd", "llama", geometry(30, 52, 3, 5, 5, 131, **rope(theta=500.0)), dtype="f16", shard="20KB", gguf=True,
         ablations=[without("rope theta", put("/rope_parameters/rope_theta", 10000.0))]),
    Case("llama-head-dim", "llama", geometry(30, 44, 2, 6, 2, 83, head_dim=14, rms_norm_eps=1e-3, **rope()), gguf=True,
         stop=True, ablations=[without("rope theta", put("/rope_parameters/rope_theta", 500.0))]),
    Case("llama-bias", "llama", geometry(36, 44, 2, 6, 3, 97, attention_bias=True, mlp_bias=True, **rope()), old=True,
         ablations=[without("query bias", zero=biases(2, "self_attn.q_proj")),
                    without("key bias", zero=biases(2, "self_attn.k_proj")),
                    without("value bias", zero=biases(2, "self_attn.v_proj")),
                    without("output bias", zero=biases(2, "self_attn.o_proj")),
                    without("gate bias", zero=biases(2, "mlp.gate_proj")),
                    without("up bias", zero=biases(2, "mlp.up_proj")),
                    without("down bias", zero=biases(2, "mlp.down_proj"))]),
    Case("llama-linear", "llama", geometry(36, 52, 2, 3, 3, 97, **rope("linear", factor=3.0)), gguf=True, old=True,
         overrides=[override("linear:3", rope_type="default")], ablations=[unscaled()]),
    Case("llama-dynamic", "llama",
         geometry(36, 44, 2, 3, 1, 97, **rope("dynamic", factor=8.0)) | dict(max_position_embeddings=48),
         runs=[("long", 90), ("short", 24)], old=True, context=320,
         ablations=[unscaled_dynamic(320), without("rope factor", put("/rope_parameters/factor", 16.0))]),
    Case("llama-dynamic-steps", "llama",  # the prompt takes several steps of 512 tokens at most
         geometry(24, 28, 2, 4, 2, 61, **rope("dynamic", factor=8.0)) | dict(max_position_embeddings=100),
         runs=[("main", 560)], dtype="bf16", context=768, ablations=[unscaled_dynamic(768)]),
    Case("llama-yarn", "llama",
         geometry(36, 44, 2, 3, 1, 97, tie_word_embeddings=True, **rope(
             "yarn", factor=8.0, original_max_position_embeddings=40)),
         runs=[("main", 72)], gguf=True, old=True, overrides=[override("yarn:8,original=40", rope_type="default")],
         ablations=[unscaled(), without("attention factor", dict(
             op="add", path="/rope_parameters/attention_factor", value=1.0))]),
    Case("llama-yarn-options", "llama",
         geometry(40, 44, 2, 2, 1, 97, **rope(
             "yarn", factor=10.0, original_max_position_embeddings=32, attention_factor=0.8,
             beta_fast=4.0, beta_slow=0.5, truncate=False)),
         runs=[("main", 72)], dtype="bf16",
         ablations=[unscaled(), without("attention factor", dict(op="remove", path="/rope_parameters/attention_factor")),
                    without("beta", dict(op="remove", path="/rope_parameters/beta_fast"),
                            dict(op="remove", path="/rope_parameters/beta_slow"))]),
    Case("llama-longrope", "llama",
         geometry(36, 44, 2, 3, 1, 97, **rope(
             "longrope", factor=4.0, original_max_position_embeddings=48,
             short_factor=SHORT_FACTORS, long_factor=LONG_FACTORS)),
         runs=[("long", 80), ("short", 30)], dtype="bf16",
         ablations=[unscaled(), unscaled(run=1),
                    without("long form", put("/rope_parameters/long_factor", SHORT_FACTORS))]),
    Case("llama-llama3", "llama",
         geometry(36, 44, 2, 3, 1, 131, tie_word_embeddings=True, **rope(
             "llama3", theta=5000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=40)),
         runs=[("main", 72)], dtype="bf16", gguf=True, old=True, ablations=[unscaled(5000.0)]),
]

MISTRAL = [
    Case("mistral-window", "mistral", geometry(36, 44, 2, 6, 2, 97, head_dim=8, sliding_window=16, **rope()),
         runs=[("main", 60), ("short", 9)], old=True, ablations=[without("window", put("/sliding_window", None)),
                                                 without("window by one", put("/sliding_window", 17))]),
    Case("mistral", "mistral", geometry(32, 52, 2, 4, 1, 97, sliding_window=None, **rope(theta=100000.0)), dtype="f16",
         ablations=[without("rope theta", put("/rope_parameters/rope_theta", 500.0))]),
    Case("mistral-window-steps", "mistral", geometry(24, 28, 2, 4, 1, 61, sliding_window=100, **rope())
         | dict(max_position_embeddings=1024), runs=[("main", 620)], dtype="bf16",
         ablations=[without("window", put("/sliding_window", None))]),
    Case("mistral-window-yarn", "mistral", geometry(
        36, 44, 2, 3, 3, 97, head_dim=12, sliding_window=24,
        **rope("yarn", factor=8.0, original_max_position_embeddings=40)),
         runs=[("main", 70)], dtype="bf16", ablations=[without("window", put("/sliding_window", None)), unscaled()]),
]

QWEN = [
    Case("qwen2", "qwen2", geometry(36, 44, 2, 6, 2, 97, tie_word_embeddings=True, **rope(theta=1000000.0)),
         gguf=True, split=True, old=True,
         ablations=[without(f"{n[10]} bias", zero=biases(2, n)) for n in QKV]),
    Case("qwen2-window", "qwen2", geometry(
        32, 44, 3, 4, 2, 97, use_sliding_window=True, sliding_window=16, max_window_layers=1, **rope()),
         runs=[("main", 60)], old=True,
         ablations=[without("window", put("/layer_types", [FULL] * 3)),
                    without("full layer", put("/layer_types", [SLIDING] * 3)),
                    without("biases", zero=biases(3, *QKV))]),
    Case("qwen2-yarn", "qwen2", geometry(
        36, 44, 2, 3, 1, 97, **rope("yarn", theta=1000000.0, factor=8.0, original_max_position_embeddings=40)),
         runs=[("main", 72)], dtype="bf16", gguf=True, old=True, ablations=[unscaled(1000000.0)]),
    Case("qwen3", "qwen3", geometry(36, 44, 2, 3, 1, 97, head_dim=16, tie_word_embeddings=True,
                                    **rope(theta=1000000.0)), gguf=True, old=True,
         ablations=[without("query norm", zero=[f"model.layers.{i}.self_attn.q_norm.weight" for i in range(2)]),
                    without("key norm", zero=[f"model.layers.{i}.self_attn.k_norm.weight" for i in range(2)]),
                    without("rope theta", put("/rope_parameters/rope_theta", 500.0))]),
    Case("qwen3-window-bias", "qwen3", geometry(
        36, 44, 3, 4, 2, 97, head_dim=10, attention_bias=True, use_sliding_window=True, sliding_window=20,
        layer_types=[SLIDING, FULL, SLIDING], **rope()), runs=[("main", 60)], dtype="f16", gguf=False,
         ablations=[without("window", put("/layer_types", [FULL] * 3)),
                    without("biases", zero=biases(3, *QKV, "self_attn.o_proj"))]),
    Case("qwen3-yarn", "qwen3", geometry(
        32, 44, 2, 4, 4, 97, head_dim=12, **rope("yarn", factor=8.0, original_max_position_embeddings=40)),
         runs=[("main", 72)], dtype="bf16", gguf=True, ablations=[unscaled()]),
]

OTHERS = [
    Case("gemma2", "gemma2", geometry(
        36, 44, 2, 3, 1, 97, head_dim=10, tie_word_embeddings=True, query_pre_attn_scalar=24, sliding_window=16,
        attn_logit_softcapping=4.0, final_logit_softcapping=6.0, **rope()), runs=[("main", 60)], old=True,
         ablations=[without("window", put("/layer_types", [FULL] * 2)),
                    without("full layer", put("/layer_types", [SLIDING] * 2)),
                    without("attention cap", put("/attn_logit_softcapping", None)),
                    without("final cap", put("/final_logit_softcapping", None)),
                    without("query scalar", put("/query_pre_attn_scalar", 10))]),
    Case("gemma2-no-caps", "gemma2", geometry(
        32, 44, 3, 4, 2, 97, head_dim=8, tie_word_embeddings=True, query_pre_attn_scalar=6, sliding_window=20,
        attn_logit_softcapping=None, final_logit_softcapping=None, layer_types=[FULL, SLIDING, SLIDING],
        **rope(theta=500.0)), runs=[("main", 60)], dtype="bf16",
         ablations=[without("window", put("/layer_types", [FULL] * 3)),
                    without("layer order", put("/layer_types", [SLIDING, FULL, SLIDING]))]),
    Case("smollm3", "smollm3", geometry(
        36, 44, 4, 3, 1, 97, tie_word_embeddings=True, no_rope_layers=[1, 0, 1, 0], **rope(theta=5000.0)), old=True,
         dtype="bf16", ablations=[without("layers without RoPE", put("/no_rope_layers", [1, 1, 1, 1])),
                                  without("layers with RoPE", put("/no_rope_layers", [0, 0, 0, 0]))]),
    Case("smollm3-window-bias", "smollm3", geometry(
        32, 44, 3, 4, 2, 97, no_rope_layers=[1, 0, 1], attention_bias=True, mlp_bias=True, use_sliding_window=True,
        sliding_window=16, **rope(theta=5000.0)), runs=[("main", 60)], dtype="f16", old=True,
         ablations=[without("window", put("/layer_types", [FULL] * 3)),
                    without("biases", zero=biases(3, *QKV)),
                    without("layers without RoPE", put("/no_rope_layers", [1, 1, 1]))]),
    Case("phi3", "phi3", geometry(
        36, 44, 2, 3, 1, 97, sliding_window=20, **rope(partial_rotary_factor=0.5)), runs=[("main", 60)], old=True,
         ablations=[without("window", put("/sliding_window", None)),
                    without("partial rotary", put("/rope_parameters/partial_rotary_factor", 1.0))]),
    Case("phi3-longrope", "phi3", geometry(
        48, 44, 2, 3, 3, 97, original_max_position_embeddings=48, **rope(
            "longrope", partial_rotary_factor=0.75, short_factor=SHORT_FACTORS, long_factor=LONG_FACTORS)),
         runs=[("long", 80), ("short", 30)], dtype="bf16", old=True,
         ablations=[unscaled(partial_rotary_factor=0.75), unscaled(run=1, partial_rotary_factor=0.75),
                    without("long form", put("/rope_parameters/long_factor", SHORT_FACTORS))]),
]

# Prompts of one token, of five, and of more than an expert's share of a tile.
SHORT_AND_LONG = [("one", 1), ("five", 5), ("long", 300)]


def mixture(hidden, intermediate, layers, heads, kv_heads, **more):
    plain = geometry(hidden, intermediate, layers, heads, kv_heads, 61, **rope())
    return plain | dict(max_position_embeddings=384) | more


def experts(layers, part, count=1):
    """Names of a part of those layers; {} stands for each of `count` experts."""
    return [f"model.layers.{i}.{part.format(e)}" for i in layers for e in range(count)]


MULTIPLIERS = dict(embedding_multiplier=1.7, residual_multiplier=0.6, attention_multiplier=0.4, logits_scaling=1.9)
WITHOUT_MULTIPLIERS = [without(name.replace("_", " "), put("/" + name, 1.0)) for name in MULTIPLIERS]

MIXTURES = [
    Case("granite", "granite", geometry(36, 44, 2, 3, 1, 97, **MULTIPLIERS, **rope()), gguf=True, old=True, dtype="bf16",
         ablations=WITHOUT_MULTIPLIERS),
    Case("mixtral", "mixtral", mixture(24, 20, 2, 3, 1, num_local_experts=6, num_experts_per_tok=2), dtype="bf16",
         runs=SHORT_AND_LONG, steps=30, gguf=True, old=True,
         ablations=[without("second expert", put("/num_experts_per_tok", 1), run=2),
                    without("experts", zero=experts(range(2), "block_sparse_moe.experts.{}.w2.weight", 6), run=2)]),
    Case("mixtral-window", "mixtral", mixture(24, 20, 2, 3, 1, num_local_experts=4, num_experts_per_tok=3,
                                              sliding_window=16), dtype="f16",
         runs=[("main", 60)], steps=40, ablations=[without("window", put("/sliding_window", None))]),
    Case("qwen2-moe", "qwen2_moe", mixture(24, 28, 3, 3, 1, num_experts=5, num_experts_per_tok=2,
                                           moe_intermediate_size=12, shared_expert_intermediate_size=20,
                                           mlp_only_layers=[1]), dtype="bf16",
         runs=SHORT_AND_LONG, steps=30, old=True,
         ablations=[without("weights as they are", put("/norm_topk_prob", True), run=2),
                    without("shared gate", zero=experts((0, 2), "mlp.shared_expert_gate.weight"), run=2),
                    without("shared expert", zero=experts((0, 2), "mlp.shared_expert.down_proj.weight"), run=2),
                    without("experts", zero=experts((0, 2), "mlp.experts.{}.down_proj.weight", 5), run=2)]),
    Case("qwen2-moe-all", "qwen2_moe", mixture(24, 28, 2, 3, 1, num_experts=4, num_experts_per_tok=2,
                                               moe_intermediate_size=16, shared_expert_intermediate_size=12,
                                               use_sliding_window=True, sliding_window=16, max_window_layers=1),
         dtype="bf16", runs=[("main", 60)], steps=40, ablations=[without("window", put("/layer_types", [FULL] * 2))]),
    Case("qwen3-moe", "qwen3_moe", mixture(24, 28, 2, 3, 1, head_dim=10, num_experts=8, num_experts_per_tok=3,
                                           moe_intermediate_size=12, norm_topk_prob=True), dtype="bf16",
         runs=SHORT_AND_LONG, steps=30, gguf=True, old=True,
         ablations=[without("normalization", put("/norm_topk_prob", False), run=2),
                    without("query norm", zero=experts(range(2), "self_attn.q_norm.weight"), run=2)]),
    Case("granitemoe", "granitemoe", mixture(24, 12, 2, 3, 1, num_local_experts=6, num_experts_per_tok=2,
                                             **MULTIPLIERS), dtype="bf16",
         runs=SHORT_AND_LONG, steps=30, gguf=True, old=True,
         ablations=[a | dict(run=2) for a in WITHOUT_MULTIPLIERS]),
    Case("granitemoeshared", "granitemoeshared", mixture(24, 12, 2, 3, 1, num_local_experts=4, num_experts_per_tok=2,
                                                         shared_intermediate_size=20, **MULTIPLIERS), dtype="bf16",
         runs=[("main", 44)], steps=60,
         ablations=[without("shared", zero=experts(range(2), "shared_mlp.output_linear.weight"))]),
    Case("olmoe", "olmoe", mixture(24, 12, 2, 3, 3, num_experts=6, num_experts_per_tok=3), dtype="bf16",
         runs=SHORT_AND_LONG, steps=30, gguf=True, old=True,
         ablations=[without("normalization off", put("/norm_topk_prob", True), run=2),
                    without("key norm", zero=experts(range(2), "self_attn.k_norm.weight"), run=2)]),
    Case("glm4-moe", "glm4_moe", mixture(24, 28, 3, 3, 1, head_dim=12, attention_bias=True, use_qk_norm=True,
                                         n_routed_experts=12, num_experts_per_tok=3, n_group=4, topk_group=2,
                                         moe_intermediate_size=12, n_shared_experts=2, routed_scaling_factor=1.8,
                                         first_k_dense_replace=1, num_mtp_layers=0,
                                         rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                              partial_rotary_factor=0.5)), dtype="f32",
         runs=SHORT_AND_LONG, steps=30,
         ablations=[without("scaling factor", put("/routed_scaling_factor", 1.0), run=2),
                    without("groups", put("/topk_group", 4), run=2),
                    without("normalization", put("/norm_topk_prob", False), run=2),
                    without("shared experts", zero=experts((1, 2), "mlp.shared_experts.down_proj.weight"), run=2)]),
]

CASES = LLAMA + MISTRAL + QWEN + OTHERS + MIXTURES

QUANTIZED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
QUANTIZED_FIELDS = geometry(256, 256, 1, 4, 2, 61, head_dim=16, tie_word_embeddings=True, **rope())
