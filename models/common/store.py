# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes a trained model as a Hugging Face directory."""
import json
import os

import torch
from safetensors.torch import save_file

from bpe import BOS

LIMIT = 4 << 20  # the repository takes no file above 4 MiB


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def write_weights(tensors, out):
    """bfloat16, in as few files of equal size as the limit allows."""
    tensors = {name: t.to(torch.bfloat16).contiguous() for name, t in sorted(tensors.items())}
    total = sum(t.nbytes for t in tensors.values())
    count = -(-total // (LIMIT * 15 // 16))
    parts, placed = [{} for _ in range(count)], 0
    for name, tensor in tensors.items():
        parts[count * placed // total][name] = tensor
        placed += tensor.nbytes
    if count == 1:
        save_file(parts[0], os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
        return
    index = dict(metadata=dict(total_size=total), weight_map={})
    for i, part in enumerate(parts):
        file = f"model-{i + 1:05}-of-{count:05}.safetensors"
        save_file(part, os.path.join(out, file), metadata={"format": "pt"})
        index["weight_map"] |= dict.fromkeys(part, file)
    write_json(os.path.join(out, "model.safetensors.index.json"), index)


def write_directory(tensors, config, out):
    """All but tokenizer.json."""
    os.makedirs(out, exist_ok=True)
    write_weights(tensors, out)
    ends = dict(bos_token_id=0, eos_token_id=0)
    write_json(os.path.join(out, "config.json"), config | ends | dict(dtype="bfloat16", use_cache=True))
    write_json(os.path.join(out, "generation_config.json"), ends)
    write_json(os.path.join(out, "tokenizer_config.json"), dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token=BOS, eos_token=BOS, add_bos_token=True,
        clean_up_tokenization_spaces=False, model_max_length=config["max_position_embeddings"]))


def llama_config(c):
    """config.json of common.layers.Llama."""
    c = dict(architectures=["LlamaForCausalLM"], model_type="llama", **c)
    theta = c.pop("rope_theta")
    return c | dict(rope_parameters=dict(rope_theta=theta, rope_type="default"), hidden_act="silu", attention_bias=False,
                    mlp_bias=False, tie_word_embeddings=True, attention_dropout=0.0, initializer_range=0.02)


def mixtral_config(c):
    """config.json of common.layers.Llama with experts."""
    return llama_config(c) | dict(architectures=["MixtralForCausalLM"], model_type="mixtral", sliding_window=None)


MIXTRAL = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}  # an expert's matrices


def mixtral_name(name):
    """The name of a tensor of common.layers.Llama in Mixtral's checkpoints."""
    for ours, theirs in MIXTRAL.items() if ".experts." in name else ():
        name = name.replace(ours, theirs)
    return name.replace(".mlp.", ".block_sparse_moe.")
