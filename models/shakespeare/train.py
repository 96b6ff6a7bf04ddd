#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Trains the shipped model: a 3-million-parameter Llama on Shakespeare.

    python3 models/shakespeare/train.py TEXT [--out DIR] [--work DIR]

TEXT is the public-domain "tiny Shakespeare" file (1,115,394 bytes). Needs
torch, tokenizers and safetensors; one CPU core with bf16 instructions takes
about a quarter of an hour. The last tenth of the text is held out and written
as validation.txt. Everything random comes from --seed and the step number, so
a run resumed from --work continues as if it had never stopped.

The last part of the training sees the weights as `mlc compile --quant int4`
will round them (straight-through estimator: Bengio et al. 2013,
arXiv 1308.3432), so that rounding costs little. The stored weights are the
unrounded ones.
"""
import argparse
import json
import math
import os
import time

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(
    hidden_size=256, intermediate_size=640, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=2, head_dim=64,
    vocab_size=1024, max_position_embeddings=512, rms_norm_eps=1e-5,
    rope_theta=10000.0)
BOS = "<|endoftext|>"
GROUP = 128
QMAX = {4: 7, 8: 127}


# --- Rounding as the compiler does it ---------------------------------------

def fake_quantize(x, bits, clip=1.0):
    """Rounds x to symmetric integers with one scale for each row and group of
    128 along the last axis (length a multiple of 128); the scale is
    clip * max|x| / (2^(bits-1) - 1). Gradients pass straight through."""
    limit = QMAX[bits]
    groups = x.float().unflatten(-1, (-1, GROUP))
    scale = groups.detach().abs().amax(-1, keepdim=True) * (clip / limit)
    scale = scale.clamp_min(1e-12)
    rounded = (groups.detach() / scale).round().clamp_(-limit, limit) * scale
    return (groups + (rounded - groups.detach())).flatten(-2).to(x.dtype)


class Rounding:
    """What the linear layers round to: None keeps floats."""
    weight_bits = None
    head_bits = None
    clip = 1.0


class Linear(nn.Linear):
    def __init__(self, rows, columns, rounding):
        super().__init__(rows, columns, bias=False)
        self.rounding = rounding

    def forward(self, x):
        bits = self.rounding.weight_bits
        if bits is None:
            return F.linear(x, self.weight)
        weight = fake_quantize(self.weight, bits, self.rounding.clip)
        return F.linear(fake_quantize(x, 8), weight)


# --- The Llama block (arXiv 2302.13971) -------------------------------------

class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rope_tables(length, head_dim, theta):
    """cos and sin [length, head_dim], the halves repeated (rotate-half)."""
    inverse = theta ** -(torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.outer(torch.arange(length).float(), inverse)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos.to(x.dtype) + turned * sin.to(x.dtype)


class Attention(nn.Module):
    def __init__(self, c, rounding):
        super().__init__()
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.dim = c["head_dim"]
        hidden = c["hidden_size"]
        self.q_proj = Linear(hidden, self.heads * self.dim, rounding)
        self.k_proj = Linear(hidden, self.kv_heads * self.dim, rounding)
        self.v_proj = Linear(hidden, self.kv_heads * self.dim, rounding)
        self.o_proj = Linear(self.heads * self.dim, hidden, rounding)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        split = lambda y, n: y.view(batch, length, n, self.dim).transpose(1, 2)
        q = rotate(split(self.q_proj(x), self.heads), cos, sin)
        k = rotate(split(self.k_proj(x), self.kv_heads), cos, sin)
        v = split(self.v_proj(x), self.kv_heads)
        times = self.heads // self.kv_heads
        k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    def __init__(self, c, rounding):
        super().__init__()
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = Linear(hidden, inner, rounding)
        self.up_proj = Linear(hidden, inner, rounding)
        self.down_proj = Linear(inner, hidden, rounding)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, c, rounding):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c, rounding)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = MLP(c, rounding)

    def forward(self, x, cos, sin, dropout):
        x = x + F.dropout(self.self_attn(self.input_layernorm(x), cos, sin), dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), dropout, self.training)


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, self.rounding = c, Rounding()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Block(c, self.rounding) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        cos, sin = rope_tables(c["max_position_embeddings"], c["head_dim"], c["rope_theta"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * c["num_hidden_layers"]) if last else 1))

    def forward(self, tokens, dropout=0.0):
        """tokens [batch, length] -> logits [batch, length, vocab]."""
        length = tokens.shape[1]
        x = F.dropout(self.embed_tokens(tokens), dropout, self.training)
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length], dropout)
        x = self.norm(x)
        weight = self.embed_tokens.weight
        if self.rounding.head_bits is not None:
            x, weight = fake_quantize(x, 8), fake_quantize(weight, self.rounding.head_bits)
        return F.linear(x, weight)


# --- Data -------------------------------------------------------------------

def make_tokenizer(text):
    """Byte-level BPE of 1,024 ids; a prompt starts with <|endoftext|>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"], special_tokens=[BOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0)])])
    return t


def encode(tokenizer, text):
    return torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)


def speech_starts(tokenizer, tokens):
    """Positions whose text begins a speech: the one after a blank line."""
    break_ids = {i for i in range(CONFIG["vocab_size"]) if tokenizer.decode([i]).endswith("\n\n")}
    newline = tokenizer.encode("\n", add_special_tokens=False).ids[0]
    ids = tokens.tolist()
    return torch.tensor([0] + [
        i + 1 for i in range(1, len(ids) - 1)
        if ids[i] in break_ids or (ids[i] == newline and ids[i - 1] == newline)])


def batch(tokens, starts, rows, length, generator):
    """Half of the rows begin at a speech behind the BOS, half anywhere."""
    out = torch.empty(rows, length + 1, dtype=torch.long)
    for r in range(rows):
        if r % 2 == 0:
            at = starts[torch.randint(len(starts), (1,), generator=generator)].item()
            at = min(at, len(tokens) - length)
            out[r, 0] = 0
            out[r, 1:] = tokens[at:at + length]
        else:
            at = torch.randint(len(tokens) - length, (1,), generator=generator).item()
            out[r] = tokens[at:at + length + 1]
    return out


@torch.no_grad()
def nll(model, tokens, weight_bits=None, head_bits=None, autocast=False, limit=None):
    """Mean negative log-likelihood in nats of tokens cut into windows of 512
    that start with the BOS; every token is scored once."""
    model.eval()
    model.rounding.weight_bits, model.rounding.head_bits, model.rounding.clip = weight_bits, head_bits, 1.0
    width = CONFIG["max_position_embeddings"]
    total = count = 0
    for at in range(0, len(tokens) if limit is None else min(limit, len(tokens)), width):
        window = tokens[at:at + width]
        fed = torch.cat([torch.zeros(1, dtype=torch.long), window[:-1]])
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(fed[None])[0]
        total += F.cross_entropy(logits.float(), window, reduction="sum").item()
        count += len(window)
    model.rounding.weight_bits = model.rounding.head_bits = None
    return total / count


# --- Training ---------------------------------------------------------------

def learning_rate(step, a):
    """Warm-up, constant, linear decay to a fiftieth."""
    if step < 100:
        return a.lr * (step + 1) / 100
    start = int(a.steps * (1 - a.decay))
    if step < start:
        return a.lr
    return a.lr * max(0.02, (a.steps - step) / (a.steps - start))


def train(model, tokens, starts, held_out, a):
    decay = [p for p in model.parameters() if p.dim() == 2]
    keep = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [dict(params=decay, weight_decay=a.weight_decay), dict(params=keep, weight_decay=0.0)],
        lr=a.lr, betas=(0.9, 0.98), fused=True)
    first, best, best_state, running = 0, float("inf"), None, []
    state_path = a.work and os.path.join(a.work, "state.pt")
    if state_path and os.path.exists(state_path):
        s = torch.load(state_path, weights_only=True)
        model.load_state_dict(s["model"])
        optimizer.load_state_dict(s["optimizer"])
        first, best, best_state = s["step"], s["best"], s["best_state"]
        print(f"resumed at step {first}", flush=True)
    rounded_from = int(a.steps * (1 - a.rounded))
    began = time.time()
    for step in range(first, a.steps):
        rounded = step >= rounded_from
        generator = torch.Generator().manual_seed(a.seed * 1_000_003 + step)
        torch.manual_seed(a.seed * 1_000_003 + step)  # dropout
        # Short windows are cheaper; the long ones teach the far positions.
        rows, length = (4, 511) if step >= a.steps * 0.6 else (8, 255)
        data = batch(tokens, starts, rows, length, generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, a)
        model.train()
        r = model.rounding
        r.weight_bits, r.head_bits = (4, 8) if rounded else (None, None)
        # Compilers differ in how tight a scale they take: train with several.
        r.clip = (1.0, 0.9, 1.0, 0.95)[step % 4]
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(data[:, :-1], a.dropout)
        loss = F.cross_entropy(logits.float().flatten(0, 1), data[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running.append(loss.item())
        if (step + 1) % a.evaluate_every and step + 1 != a.steps:
            continue
        score = nll(model, held_out, *((4, 8) if rounded else (None, None)), autocast=True, limit=16384)
        mean = sum(running) / len(running)
        running = []
        print(f"step {step + 1} train {mean:.4f} validation {score:.4f}{' rounded' if rounded else ''} "
              f"{time.time() - began:.0f} s", flush=True)
        if rounded and score < best:
            best = score
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        if state_path:
            torch.save(dict(model=model.state_dict(), optimizer=optimizer.state_dict(), step=step + 1,
                            best=best, best_state=best_state), state_path + ".new")
            os.replace(state_path + ".new", state_path)
    if best_state:
        model.load_state_dict(best_state)


# --- Output -----------------------------------------------------------------

def write_directory(model, tokenizer, out):
    from safetensors.torch import save_file
    os.makedirs(out, exist_ok=True)
    tensors = {f"model.{k}": v.to(torch.bfloat16).contiguous() for k, v in sorted(model.state_dict().items())}
    # Two files: the repository takes none above 4 MiB.
    total, parts, placed = sum(t.nbytes for t in tensors.values()), ({}, {}), 0
    for name, tensor in tensors.items():
        parts[2 * placed >= total][name] = tensor
        placed += tensor.nbytes
    index = dict(metadata=dict(total_size=total), weight_map={})
    for i, part in enumerate(parts):
        file = f"model-{i + 1:05}-of-{len(parts):05}.safetensors"
        save_file(part, os.path.join(out, file), metadata={"format": "pt"})
        index["weight_map"] |= dict.fromkeys(part, file)
    c = dict(architectures=["LlamaForCausalLM"], model_type="llama", **CONFIG)
    theta = c.pop("rope_theta")
    c.update(rope_parameters=dict(rope_theta=theta, rope_type="default"), hidden_act="silu",
             attention_bias=False, mlp_bias=False, tie_word_embeddings=True, attention_dropout=0.0,
             bos_token_id=0, eos_token_id=0, dtype="bfloat16", initializer_range=0.02, use_cache=True)
    files = {
        "config.json": c,
        "model.safetensors.index.json": index,
        "generation_config.json": dict(bos_token_id=0, eos_token_id=0),
        "tokenizer_config.json": dict(
            tokenizer_class="PreTrainedTokenizerFast", bos_token=BOS, eos_token=BOS,
            add_bos_token=True, clean_up_tokenization_spaces=False,
            model_max_length=c["max_position_embeddings"]),
    }
    for name, value in files.items():
        with open(os.path.join(out, name), "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")
    tokenizer.save(os.path.join(out, "tokenizer.json"))


@torch.no_grad()
def sample(model, tokenizer, prompt, count, seed, temperature=0.8):
    generator = torch.Generator().manual_seed(seed)
    ids = tokenizer.encode(prompt).ids
    for _ in range(count):
        logits = model(torch.tensor([ids[-512:]]))[0, -1] / temperature
        ids.append(torch.multinomial(logits.softmax(-1), 1, generator=generator).item())
    return tokenizer.decode(ids)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("text")
    p.add_argument("--out", default=here)
    p.add_argument("--work", help="folder for the state of an unfinished run")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--steps", type=int, default=3000)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--weight-decay", type=float, default=0.1)
    p.add_argument("--dropout", type=float, default=0.2)
    p.add_argument("--decay", type=float, default=0.5, help="last part of the steps that lowers the rate")
    p.add_argument("--rounded", type=float, default=0.25, help="last part of the steps with rounded weights")
    p.add_argument("--evaluate-every", type=int, default=100)
    a = p.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(a.seed)

    with open(a.text, encoding="utf-8", newline="") as f:
        text = f.read()
    cut = text.index("\n\n", len(text) * 9 // 10) + 2
    tokenizer = make_tokenizer(text[:cut])
    tokens, held_out = encode(tokenizer, text[:cut]), encode(tokenizer, text[cut:])
    os.makedirs(a.out, exist_ok=True)
    with open(os.path.join(a.out, "validation.txt"), "w", encoding="utf-8", newline="") as f:
        f.write(text[cut:])
    if a.work:
        os.makedirs(a.work, exist_ok=True)
    model = Llama(CONFIG)
    print(f"{sum(p.numel() for p in model.parameters())} parameters; tokens: {len(tokens)} train, "
          f"{len(held_out)} validation; {len(text[cut:].encode())} validation bytes", flush=True)
    began = time.time()
    train(model, tokens, speech_starts(tokenizer, tokens), held_out, a)
    print(f"trained in {time.time() - began:.0f} s")

    with torch.no_grad():  # measure what is stored
        for q in model.parameters():
            q.copy_(q.to(torch.bfloat16).float())
    write_directory(model, tokenizer, a.out)
    bytes_per_token = len(text[cut:].encode()) / len(held_out)
    for name, bits, head, data in (
            ("f32", None, None, held_out), ("int8", 8, 8, held_out), ("int4", 4, 8, held_out),
            ("f32 on training text", None, None, tokens[:len(held_out)])):
        loss = nll(model, data, bits, head)
        print(f"{name}: loss {loss:.4f} nats/token, perplexity {math.exp(loss):.4f} per token, "
              f"{math.exp(loss / bytes_per_token):.4f} per byte")
    print(sample(model, tokenizer, "ROMEO:\n", 200, a.seed))


if __name__ == "__main__":
    main()
