"""Checkpoints with random weights at real geometries: the speed of dense models does not depend on their values.

    checkpoint.py qwen2.5-0.5b OUT_DIR     bf16 safetensors, config.json and a stand-in tokenizer
    checkpoint.py --gguf DIR OUT.gguf      the same weights as an f16 GGUF without a vocabulary
    checkpoint.py --gguf-vocabulary IN OUT  a copy with a stand-in vocabulary, for readers that insist on one
"""
import json
import os
import sys

import numpy as np

GEOMETRIES = {
    "qwen2.5-0.5b": dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14),
    "qwen2.5-1.5b": dict(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12),
}
COMMON = dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", vocab_size=151936, num_key_value_heads=2,
              hidden_act="silu", max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1e6,
              tie_word_embeddings=True, use_sliding_window=False, torch_dtype="bfloat16", initializer_range=0.02)
BYTE_CHARACTERS = ([*range(33, 127), *range(161, 173), *range(174, 256)])


def tensors(config):
    """(name, shape) in the order of the file; one dimension means a norm or a bias."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    pair = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for name, rows in (("q", hidden), ("k", pair), ("v", pair)):
            yield f"{layer}self_attn.{name}_proj.weight", (rows, hidden)
            yield f"{layer}self_attn.{name}_proj.bias", (rows,)
        yield layer + "self_attn.o_proj.weight", (hidden, hidden)
        yield layer + "mlp.gate_proj.weight", (inner, hidden)
        yield layer + "mlp.up_proj.weight", (inner, hidden)
        yield layer + "mlp.down_proj.weight", (hidden, inner)
        yield layer + "input_layernorm.weight", (hidden,)
        yield layer + "post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)


def byte_vocabulary():
    """256 tokens, one a byte, in the byte-level alphabet of GPT-2, and one merge."""
    other = iter(range(256, 512))
    return [chr(byte if byte in BYTE_CHARACTERS else next(other)) for byte in range(256)], ("t", "h")


def make_checkpoint(name, out):
    config = {**COMMON, **GEOMETRIES[name]}
    os.makedirs(out, exist_ok=True)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for tensor, shape in tensors(config):
        size = 2 * int(np.prod(shape))
        header[tensor] = dict(dtype="BF16", shape=shape, data_offsets=[at, at + size])
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(0)
    with open(os.path.join(out, "model.safetensors.part"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor, shape in tensors(config):
            values = random.standard_normal(shape, dtype=np.float32) * np.float32(config["initializer_range"])
            if tensor.endswith("norm.weight"):
                values += 1
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    os.replace(file.name, os.path.join(out, "model.safetensors"))
    letters, merge = byte_vocabulary()
    words = {letter: i for i, letter in enumerate([*letters, "".join(merge)])}
    end = {"content": "<|endoftext|>", "special": True, "lstrip": False, "rstrip": False, "normalized": False,
           "single_word": False}
    end_id = len(words)
    for file, value in (("config.json", {**config, "eos_token_id": end_id, "bos_token_id": end_id}),
                        ("generation_config.json", {"eos_token_id": end_id}), ("vocab.json", words),
                        ("tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>",
                                                   "added_tokens_decoder": {str(end_id): end}})):
        with open(os.path.join(out, file), "w", encoding="utf-8") as stream:
            json.dump(value, stream)
    with open(os.path.join(out, "merges.txt"), "w", encoding="utf-8") as stream:
        stream.write("#version: 0.2\n" + " ".join(merge) + "\n")


PARTS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, part = name.split(".", 3)
    part, kind = part.rsplit(".", 1)
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def make_gguf(source, out):
    import gguf
    with open(os.path.join(source, "config.json"), encoding="utf-8") as stream:
        config = json.load(stream)
    path = os.path.join(source, "model.safetensors")
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    data = np.memmap(path, np.uint8, "r", offset=8 + size)
    writer = gguf.GGUFWriter(out, "qwen2", use_temp_file=True)
    writer.add_name("random")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config["vocab_size"])
    for name, shape in tensors(config):
        begin, end = header[name]["data_offsets"]
        values = (data[begin:end].view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
        writer.add_tensor(gguf_name(name), values if len(shape) == 1 else values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(source, out):
    import gguf
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, "qwen2")
    for key, field in reader.fields.items():
        if not key.startswith(("GGUF.", "tokenizer.")) and key != "general.architecture" and "vocab_size" not in key:
            writer.add_key_value(key, field.contents(), field.types[0])
    letters, merge = byte_vocabulary()
    known = [*letters, "".join(merge)]
    count = int(next(t for t in reader.tensors if t.name == "token_embd.weight").shape[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(known + [f"<|{i}|>" for i in range(len(known), count)])
    normal, control, unused = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.UNUSED
    writer.add_token_types([normal] * len(known) + [unused] * (count - len(known) - 1) + [control])
    writer.add_token_merges([" ".join(merge)])
    writer.add_eos_token_id(count - 1)
    writer.add_bos_token_id(count - 1)
    writer.add_pad_token_id(count - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    match sys.argv[1:]:
        case ["--gguf", source, out]:
            make_gguf(source, out)
        case ["--gguf-vocabulary", source, out]:
            add_vocabulary(source, out)
        case [name, out] if name in GEOMETRIES:
            make_checkpoint(name, out)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
