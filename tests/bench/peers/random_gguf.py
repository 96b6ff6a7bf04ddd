"""f16 GGUFs with random weights at the geometries of state-space models and mixtures; no vocabulary.

    random_gguf.py mamba2-370m|hybrid-700m|moe-1.3b|moe-1.3b-dense OUT.gguf

Speed does not depend on the values, but for a mixture's router, whose logits spread as a trained one's do.
"""
import sys

import numpy as np

# qwen3moe with 32 experts, 8 of them chosen, and the dense model of the size that a token uses.
MOE = dict(hidden=1024, layers=24, heads=16, kv_heads=4, head_dim=64, inner=4096, vocab=49152, qk_norm=True)
GEOMETRIES = {
    "mamba2-370m": dict(architecture="mamba2", hidden=1024, layers=48, inner=0, vocab=50288, ssm=dict(heads=32), attention=()),
    "hybrid-700m": dict(architecture="granitehybrid", hidden=1536, layers=20, heads=12, kv_heads=4, head_dim=128, inner=4096,
                        vocab=49152, ssm=dict(heads=48), attention=(4, 9, 14, 19), multipliers=True),
    "moe-1.3b": MOE | dict(architecture="qwen3moe", experts=32, chosen=8, expert_inner=512),
    "moe-1.3b-dense": MOE | dict(architecture="qwen3"),
}
SSM_HEAD, SSM_STATE, SSM_KERNEL = 64, 128, 4


class Writer:
    def __init__(self, path, geometry):
        import gguf
        self.file = gguf.GGUFWriter(path, geometry["architecture"], use_temp_file=True)
        self.random = np.random.default_rng(0)
        self.file_type = gguf.LlamaFileType.MOSTLY_F16

    def tensor(self, name, value):
        self.file.add_tensor(name, value)

    def normal(self, *shape, scale=0.02):
        return self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def matrix(self, name, *shape):
        self.tensor(name + ".weight", self.normal(*shape).astype(np.float16))

    def norm(self, name, *shape):
        self.tensor(name + ".weight", np.ones(shape, np.float32))


def write_keys(w, g):
    w.add_context_length(32768)
    w.add_embedding_length(g["hidden"])
    w.add_block_count(g["layers"])
    w.add_feed_forward_length(g["inner"])
    w.add_layer_norm_rms_eps(1e-6)
    w.add_tokenizer_model("no_vocab")
    w.add_vocab_size(g["vocab"])
    w.add_head_count(g.get("heads", 0))
    if "heads" in g:
        has_attention = [not g.get("ssm") or i in g["attention"] for i in range(g["layers"])]
        w.add_head_count_kv([g["kv_heads"] if a else 0 for a in has_attention] if g.get("ssm") else g["kv_heads"])
        w.add_key_length(g["head_dim"])
        w.add_value_length(g["head_dim"])
        w.add_rope_dimension_count(g["head_dim"])
        w.add_rope_freq_base(1e6)
    if g.get("ssm"):
        w.add_ssm_conv_kernel(SSM_KERNEL)
        w.add_ssm_inner_size(g["ssm"]["heads"] * SSM_HEAD)
        w.add_ssm_state_size(SSM_STATE)
        w.add_ssm_time_step_rank(g["ssm"]["heads"])
        w.add_ssm_group_count(1)
    if g.get("multipliers"):
        w.add_logit_scale(8.0)
        w.add_residual_scale(1.0)
        w.add_embedding_scale(12.0)
        w.add_attention_scale(g["head_dim"] ** -0.5)
    if g.get("experts"):
        w.add_expert_count(g["experts"])
        w.add_expert_used_count(g["chosen"])
        w.add_expert_feed_forward_length(g["expert_inner"])


def write_mamba(w, block, g):
    heads = g["ssm"]["heads"]
    inner = heads * SSM_HEAD
    convolved = inner + 2 * SSM_STATE
    w.matrix(block + "ssm_in", inner + convolved + heads, g["hidden"])
    w.tensor(block + "ssm_conv1d.weight", w.normal(convolved, SSM_KERNEL, scale=0.3))
    w.tensor(block + "ssm_conv1d.bias", w.normal(convolved))
    w.tensor(block + "ssm_dt.bias", w.normal(heads, scale=1))
    w.tensor(block + "ssm_a", -np.exp(w.normal(heads, 1, scale=1)))
    w.tensor(block + "ssm_d", np.ones((heads, 1), np.float32))
    w.norm(block + "ssm_norm", 1, inner)
    w.matrix(block + "ssm_out", g["hidden"], inner)


def write_attention(w, block, g):
    hidden, width, kv_width = g["hidden"], g["heads"] * g["head_dim"], g["kv_heads"] * g["head_dim"]
    w.matrix(block + "attn_q", width, hidden)
    w.matrix(block + "attn_k", kv_width, hidden)
    w.matrix(block + "attn_v", kv_width, hidden)
    w.matrix(block + "attn_output", hidden, width)
    if g.get("qk_norm"):
        w.norm(block + "attn_q_norm", g["head_dim"])
        w.norm(block + "attn_k_norm", g["head_dim"])


def write_mlp(w, block, g):
    hidden, experts = g["hidden"], g.get("experts")
    of, suffix, inner = ((experts,), "_exps", g["expert_inner"]) if experts else ((), "", g["inner"])
    if experts:
        w.tensor(block + "ffn_gate_inp.weight", w.normal(experts, hidden, scale=0.05))
    w.matrix(block + "ffn_gate" + suffix, *of, inner, hidden)
    w.matrix(block + "ffn_up" + suffix, *of, inner, hidden)
    w.matrix(block + "ffn_down" + suffix, *of, hidden, inner)


def write(name, out):
    g = GEOMETRIES[name]
    w = Writer(out, g)
    write_keys(w.file, g)
    w.file.add_file_type(w.file_type)
    w.matrix("token_embd", g["vocab"], g["hidden"])
    w.norm("output_norm", g["hidden"])
    for i in range(g["layers"]):
        block = f"blk.{i}."
        w.norm(block + "attn_norm", g["hidden"])
        if g.get("ssm") and i not in g["attention"]:
            write_mamba(w, block, g)
        else:
            write_attention(w, block, g)
        if g["inner"]:
            w.norm(block + "ffn_norm", g["hidden"])
            write_mlp(w, block, g)
    w.file.write_header_to_file()
    w.file.write_kv_data_to_file()
    w.file.write_tensors_to_file()
    w.file.close()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in GEOMETRIES:
        sys.exit(__doc__)
    write(*sys.argv[1:])
