# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The tiny checkpoints with Mamba-2 layers: see cases.py."""
from dataclasses import dataclass

from cases import Case, geometry, put, rope, without

RUNS = [("one", 1), ("five", 5), ("main", 300)]  # no page of 16 positions, none complete, many
MAMBA = dict(mamba_n_heads=6, mamba_d_head=12, mamba_n_groups=2, mamba_d_state=10, mamba_d_conv=4, mamba_expand=2,
             mamba_chunk_size=64)
LONG = dict(max_position_embeddings=512)
FULL = "full_attention"
LINEAR = "linear_attention"


def constants(prefix, mixer, layers, *names):
    return [f"{prefix}.layers.{i}.{mixer}.{name}" for i in layers for name in names]


def mixer_ablations(prefix, mixer, layers, norm=True):
    """Every constant of a mixer set to zero on its own."""
    names = dict(A="A_log", D="D", dt_bias="dt_bias", **{"convolution bias": "conv1d.bias"})
    if norm:
        names["gated norm"] = "norm.weight"
    return [without(name, zero=constants(prefix, mixer, layers, tensor), run=2) for name, tensor in names.items()]


@dataclass
class Hybrid(Case):
    runs: list = None
    old: bool = True
    steps: int = 60

    def __post_init__(self):
        self.runs = self.runs or RUNS


def mamba2(heads, head_dim, groups, state, layers, vocabulary, **more):
    return dict(hidden_size=heads * head_dim // 2, num_heads=heads, head_dim=head_dim, n_groups=groups, state_size=state,
                num_hidden_layers=layers, vocab_size=vocabulary, expand=2, chunk_size=64) | more


FALCON = geometry(
    36, 44, 2, 3, 1, 97, **LONG, **MAMBA, mamba_d_ssm=72, mamba_rms_norm=True, mamba_norm_before_gate=True,
    lm_head_multiplier=0.7, embedding_multiplier=1.4, mlp_multipliers=[1.3, 0.8], key_multiplier=0.75,
    attention_out_multiplier=1.2, attention_in_multiplier=0.9, ssm_multipliers=[1.2, 0.8, 1.3, 0.9, 0.7],
    ssm_in_multiplier=1.1, ssm_out_multiplier=0.85, **rope())
NEMOTRON = geometry(
    36, 52, 5, 3, 1, 97, head_dim=12, **LONG, mamba_num_heads=6, mamba_head_dim=12, n_groups=2, ssm_state_size=10,
    chunk_size=64, time_step_min=0.02, layers_block_type=[LINEAR, "mlp", FULL, LINEAR, "mlp"])
# What GGUF can say: it has no key for the norm before the gate, nor for time_step_min, which bounds nothing if tiny.
GATE_FIRST = dict(mamba_norm_before_gate=False)
UNBOUNDED = dict(time_step_min=1e-6)

HYBRIDS = [
    Hybrid("mamba2", "mamba2", mamba2(6, 12, 2, 10, 2, 97), gguf=True,
           ablations=mixer_ablations("backbone", "mixer", range(2))),
    Hybrid("mamba2-odd", "mamba2", mamba2(5, 8, 5, 7, 3, 83, use_bias=True, conv_kernel=3, tie_word_embeddings=True,
                                          time_step_limit=[0.05, 0.9]), dtype="bf16",
           ablations=[without("time step's limits", put("/time_step_limit", [0.0, 1e9]), run=2),
                      without("projection biases", zero=constants("backbone", "mixer", range(3), "in_proj.bias",
                                                                  "out_proj.bias"), run=2)]),
    Hybrid("granitemoehybrid", "granitemoehybrid", geometry(
        36, 20, 3, 3, 1, 97, **LONG, **MAMBA, shared_intermediate_size=44, num_local_experts=0, num_experts_per_tok=0,
        layer_types=[LINEAR, FULL, LINEAR], embedding_multiplier=2.5, residual_multiplier=0.6,
        attention_multiplier=0.25, logits_scaling=1.7, **rope()), gguf=True,
           ablations=mixer_ablations("model", "mamba", (0, 2)) + [
               without("embedding multiplier", put("/embedding_multiplier", 1.0), run=2),
               without("residual multiplier", put("/residual_multiplier", 1.0), run=2),
               without("attention multiplier", put("/attention_multiplier", 0.5), run=2),
               without("logits scaling", put("/logits_scaling", 1.0), run=2)]),
    Hybrid("granitemoehybrid-rope", "granitemoehybrid", geometry(
        32, 20, 3, 4, 2, 97, **LONG, **(MAMBA | dict(mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=1)),
        shared_intermediate_size=52, num_local_experts=0, num_experts_per_tok=0, layer_types=[FULL, LINEAR, FULL],
        attention_multiplier=0.35, position_embedding_type="rope", attention_bias=True, tie_word_embeddings=True,
        **rope(theta=500.0)), dtype="bf16", gguf=True,
           ablations=[without("rotation", put("/position_embedding_type", None), run=2),
                      without("rope theta", put("/rope_parameters/rope_theta", 10000.0), run=2)]),
    Hybrid("bamba", "bamba", geometry(
        36, 44, 3, 3, 1, 97, **LONG, **MAMBA, attn_layer_indices=[1], attention_bias=True, mlp_bias=True,
        **rope(theta=500.0)),
           ablations=mixer_ablations("model", "mamba", (0, 2)) + [
               without("rope theta", put("/rope_parameters/rope_theta", 10000.0), run=2)]),
    Hybrid("falcon-h1", "falcon_h1", FALCON,
           ablations=mixer_ablations("model", "mamba", range(2)) + [
               without("norm before the gate", put("/mamba_norm_before_gate", False), run=2)] + [
               without(name, put("/" + name, value), run=2) for name, value in (
                   ("lm_head_multiplier", 1.0), ("embedding_multiplier", 1.0), ("mlp_multipliers", [1.0, 0.8]),
                   ("mlp_multipliers", [1.3, 1.0]), ("key_multiplier", 1.0), ("attention_out_multiplier", 1.0),
                   ("attention_in_multiplier", 1.0), ("ssm_in_multiplier", 1.0), ("ssm_out_multiplier", 1.0))] + [
               without(f"ssm multiplier {i}", put(f"/ssm_multipliers/{i}", 1.0), run=2) for i in range(5)]),
    Hybrid("falcon-h1-gate-first", "falcon_h1", FALCON | GATE_FIRST, gguf=True, old=False,
           ablations=[without("gate before the norm", put("/mamba_norm_before_gate", True), run=2),
                      without("ssm_in_multiplier", put("/ssm_in_multiplier", 1.0), run=2)]),
    Hybrid("falcon-h1-no-norm", "falcon_h1", geometry(
        32, 44, 2, 4, 2, 97, head_dim=6, **LONG, **(MAMBA | dict(mamba_n_heads=5, mamba_d_head=8, mamba_n_groups=1)),
        mamba_d_ssm=40, mamba_rms_norm=False, mamba_proj_bias=True, projectors_bias=True, attention_bias=True,
        mlp_bias=True, mamba_conv_bias=False, **rope(theta=500.0)), dtype="bf16", gguf=True,
           ablations=[without("projection biases", zero=constants("model", "mamba", range(2), "in_proj.bias",
                                                                  "out_proj.bias"), run=2)]),
    Hybrid("nemotron-h-unbounded", "nemotron_h", NEMOTRON | UNBOUNDED | dict(mlp_bias=True), gguf=True, old=False,
           ablations=[without("least time step", put("/time_step_min", 0.5), run=2),
                      without("MLP biases", zero=constants("backbone", "mixer", (1, 4), "up_proj.bias", "down_proj.bias"),
                              run=2)]),
    Hybrid("nemotron-h", "nemotron_h", NEMOTRON,
           ablations=mixer_ablations("backbone", "mixer", (0, 3)) + [
               without("least time step", put("/time_step_min", 0.5), run=2)]),
    Hybrid("granitemoehybrid-experts", "granitemoehybrid", geometry(
        32, 12, 2, 4, 2, 97, **LONG, **(MAMBA | dict(mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=1)),
        shared_intermediate_size=20, num_local_experts=5, num_experts_per_tok=2, layer_types=[LINEAR, FULL],
        attention_multiplier=0.35, **rope()), dtype="bf16", gguf=True,
           ablations=[without("second expert", put("/num_experts_per_tok", 1), run=2),
                      without("shared MLP", zero=constants("model", "shared_mlp", range(2), "output_linear.weight"), run=2)]),
    Hybrid("nemotron-h-experts", "nemotron_h", geometry(
        32, 20, 4, 4, 2, 97, head_dim=8, **LONG, mamba_num_heads=4, mamba_head_dim=16, n_groups=1, ssm_state_size=10,
        chunk_size=64, time_step_min=0.02, layers_block_type=[LINEAR, "moe", FULL, "moe"], n_routed_experts=6,
        num_experts_per_tok=2, n_group=2, topk_group=1, moe_intermediate_size=12, routed_scaling_factor=1.7,
        moe_shared_expert_intermediate_size=20, mlp_bias=True),
           ablations=[without("scaling factor", put("/routed_scaling_factor", 1.0), run=2),
                      without("groups", put("/topk_group", 2), run=2),
                      without("shared experts", zero=constants("backbone", "mixer", (1, 3), "shared_experts.down_proj.weight"),
                              run=2),
                      without("biases of shared experts", zero=constants(
                          "backbone", "mixer", (1, 3), "shared_experts.up_proj.bias", "shared_experts.down_proj.bias"), run=2)]),
]
