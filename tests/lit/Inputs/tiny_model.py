# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes a tiny Llama checkpoint, sound or with one thing wrong in it.

    python3 tiny_model.py hf DIRECTORY [FAULT]
    python3 tiny_model.py gguf FILE [FAULT]

FAULT is the name of a function hf_FAULT or gguf_FAULT below; 'key=JSON' sets a
key of config.json or of the GGUF metadata instead. Python's standard library
only; the weights are the same on every machine.
"""
import json
import os
import struct
import sys

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, LAYERS, VOCAB, CONTEXT = 32, 64, 4, 2, 2, 48, 64
HEAD = HIDDEN // HEADS


def weights(count, seed):
    """Values in [-0.5, 0.5) from a linear congruential generator."""
    state, values = seed * 2654435761 % 2**32, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state / 2**32 - 0.5)
    return struct.pack(f"<{count}f", *values)


def shapes():
    layer = {
        "input_layernorm": [HIDDEN], "post_attention_layernorm": [HIDDEN],
        "self_attn.q_proj": [HIDDEN, HIDDEN], "self_attn.k_proj": [KV_HEADS * HEAD, HIDDEN],
        "self_attn.v_proj": [KV_HEADS * HEAD, HIDDEN], "self_attn.o_proj": [HIDDEN, HIDDEN],
        "mlp.gate_proj": [INTERMEDIATE, HIDDEN], "mlp.up_proj": [INTERMEDIATE, HIDDEN],
        "mlp.down_proj": [HIDDEN, INTERMEDIATE],
    }
    yield "model.embed_tokens.weight", [VOCAB, HIDDEN]
    for i in range(LAYERS):
        for name, shape in layer.items():
            yield f"model.layers.{i}.{name}.weight", shape
    yield "model.norm.weight", [HIDDEN]
    yield "lm_head.weight", [VOCAB, HIDDEN]


UP = "model.layers.1.mlp.up_proj.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


# --- Hugging Face ---------------------------------------------------------------------------------------------------

class HuggingFace:
    def __init__(self, directory):
        self.directory = directory
        self.config = {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
            "num_hidden_layers": LAYERS, "vocab_size": VOCAB, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float32",
        }
        self.config_text = None
        self.tensors = {name: ["F32", shape, weights(size(shape), i)] for i, (name, shape) in enumerate(shapes())}
        self.offsets = {}  # of a tensor, where they are not what they should be
        self.extra_header = ""  # JSON text behind the last entry of the header
        self.index = None  # tensor to file; then files says which files exist
        self.files = ["model.safetensors"]
        self.data_tail = b""
        self.cut = None
        self.header_length = None

    def write(self):
        os.makedirs(self.directory, exist_ok=True)
        for name in os.listdir(self.directory):
            os.remove(os.path.join(self.directory, name))
        text = json.dumps(self.config) if self.config_text is None else self.config_text
        with open(os.path.join(self.directory, "config.json"), "w", encoding="utf-8") as f:
            f.write(text)
        if self.index is not None:
            with open(os.path.join(self.directory, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
                json.dump({"metadata": {}, "weight_map": self.index}, f)
        for file in self.files:
            names = [n for n in self.tensors if self.index is None or self.index.get(n) == file]
            self.write_tensors(os.path.join(self.directory, file), names)

    def write_tensors(self, path, names):
        header, data = {}, b""
        for name in names:
            dtype, shape, content = self.tensors[name]
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": self.offsets.get(name, [len(data), len(data) + len(content)])}
            data += content
        text = json.dumps(header)
        if self.extra_header:
            text = text[:-1] + ", " + self.extra_header + "}"
        text = text.encode()
        text += b" " * (-len(text) % 8)
        length = len(text) if self.header_length is None else self.header_length
        whole = struct.pack("<Q", length) + text + data + self.data_tail
        with open(path, "wb") as f:
            f.write(whole[:self.cut])


def size(shape):
    count = 1
    for extent in shape:
        count *= extent
    return count


def hf_missing_tensor(m):
    del m.tensors[UP]


def hf_missing_norm(m):
    del m.tensors["model.norm.weight"]


def hf_unknown_tensor(m):
    m.tensors["model.layers.0.self_attn.sinks"] = ["F32", [4], bytes(16)]


def hf_wrong_shape(m):
    m.tensors[UP][1] = [HIDDEN, INTERMEDIATE]


def hf_wrong_rank(m):
    m.tensors[UP][1] = [HIDDEN * INTERMEDIATE]


def hf_wrong_dtype(m):
    m.tensors[UP][0] = "I32"


def hf_unknown_dtype(m):
    m.tensors[UP][0] = "F8_E4M3"
    m.tensors[UP][2] = m.tensors[UP][2][:HIDDEN * INTERMEDIATE]


def hf_dtype_size(m):
    m.tensors[UP][0] = "BF16"


def hf_duplicate_tensor(m):
    m.extra_header = '"lm_head.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'


def hf_duplicate_key(m):
    m.config_text = json.dumps(m.config)[:-1] + ', "hidden_size": 64}'


def hf_absurd_shape(m):
    m.tensors[UP][1] = [2**30, 2**30]


def hf_overflowing_shape(m):
    m.tensors[UP][1] = [2**62, 4, 0xFFFFFFFF]


def hf_negative_shape(m):
    m.tensors[UP][1] = [-64, -32]


def hf_beyond_the_end(m):
    m.offsets[UP] = [2**60, 2**60 + 8192]


def hf_reversed_offsets(m):
    m.offsets[UP] = [8192, 0]


def hf_overlap(m):
    m.offsets[DOWN] = [0, 8192]


def hf_cut(m):
    m.cut = -100


def hf_cut_header(m):
    m.cut = 100


def hf_empty(m):
    m.cut = 0


def hf_header_length(m):
    m.header_length = 2**60


def hf_trailing_bytes(m):
    m.data_tail = b"\0" * 64


def hf_sharded(m):
    m.files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    m.index = {name: m.files[i % 2] for i, name in enumerate(m.tensors)}


def hf_missing_shard(m):
    hf_sharded(m)
    del m.files[1]


def hf_shard_is_the_index(m):
    hf_sharded(m)
    m.index = dict.fromkeys(m.index, "model.safetensors.index.json")


def hf_shard_outside(m):
    hf_sharded(m)
    m.index[UP] = "../" + m.index[UP]


def hf_shard_without_tensor(m):
    hf_sharded(m)
    m.index["model.layers.9.mlp.up_proj.weight"] = m.files[0]


def hf_not_json(m):
    m.config_text = "{not json"


def hf_array(m):
    m.config_text = "[]"


def hf_deep(m):
    m.config_text = "[" * 100000


def hf_not_utf8(m):
    m.config["architectures"] = ["\udcff"]
    m.config_text = None


def hf_no_weights(m):
    m.files = []


# --- GGUF -----------------------------------------------------------------------------------------------------------

U32, F32, STRING, ARRAY, U64 = 4, 6, 8, 9, 10
TYPES = {"F32": 0, "IQ4_NL": 20, "IQ4_XS": 23, "I32": 26, "MXFP4": 39}


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_name(name):
    for old, new in (("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
                     ("model.layers.", "blk."), ("input_layernorm", "attn_norm"),
                     ("post_attention_layernorm", "ffn_norm"), ("self_attn.q_proj", "attn_q"),
                     ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
                     ("self_attn.o_proj", "attn_output"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
                     ("mlp.down_proj", "ffn_down")):
        name = name.replace(old, new)
    return name


class Gguf:
    def __init__(self, path):
        self.path = path
        self.magic, self.version = b"GGUF", 3
        self.pairs = [
            ("general.architecture", STRING, "llama"), ("llama.block_count", U32, LAYERS),
            ("llama.context_length", U32, CONTEXT), ("llama.embedding_length", U32, HIDDEN),
            ("llama.feed_forward_length", U32, INTERMEDIATE), ("llama.attention.head_count", U32, HEADS),
            ("llama.attention.head_count_kv", U32, KV_HEADS), ("llama.rope.freq_base", F32, 10000.0),
            ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5), ("llama.vocab_size", U32, VOCAB),
        ]
        # Name, type, extents (fastest first), offset or None for the next free, data.
        self.tensors = [[gguf_name(name), "F32", shape[::-1], None, weights(size(shape), i)]
                        for i, (name, shape) in enumerate(shapes())]
        self.tensor_count = self.pair_count = None
        self.raw_pairs = b""
        self.cut = None

    def tensor(self, name):
        return next(t for t in self.tensors if t[0] == name)

    def set(self, key, kind, value):
        self.pairs = [p for p in self.pairs if p[0] != key] + [(key, kind, value)]

    def write(self):
        out = self.magic + struct.pack("<I", self.version)
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        extra = 1 if self.raw_pairs else 0
        pairs = len(self.pairs) + extra if self.pair_count is None else self.pair_count
        out += struct.pack("<QQ", tensors, pairs)
        for key, kind, value in self.pairs:
            out += string(key) + struct.pack("<I", kind)
            if kind == STRING:
                out += string(value)
            else:
                out += struct.pack({U32: "<I", F32: "<f", U64: "<Q"}[kind], value)
        out += self.raw_pairs
        data = b""
        for name, kind, extents, offset, content in self.tensors:
            at = len(data) if offset is None else offset
            out += string(name) + struct.pack(f"<I{len(extents)}QIQ", len(extents), *extents, TYPES.get(kind, kind), at)
            data += content + b"\0" * (-len(content) % 32)
        out += b"\0" * (-len(out) % 32)
        with open(self.path, "wb") as f:
            f.write((out + data)[:self.cut])


GGUF_UP = "blk.1.ffn_up.weight"


def gguf_missing_tensor(m):
    m.tensors.remove(m.tensor(GGUF_UP))


def gguf_unknown_tensor(m):
    m.tensors.append(["blk.0.attn_sinks.weight", "F32", [4], None, bytes(16)])


def gguf_wrong_shape(m):
    m.tensor(GGUF_UP)[2].reverse()


def gguf_iq4_nl(m):
    m.tensor(GGUF_UP)[1] = "IQ4_NL"


def gguf_iq4_xs(m):
    m.tensor(GGUF_UP)[1] = "IQ4_XS"


def gguf_mxfp4(m):
    m.tensor(GGUF_UP)[1] = "MXFP4"


def gguf_i32(m):
    m.tensor(GGUF_UP)[1] = "I32"


def gguf_type_99(m):
    m.tensor(GGUF_UP)[1] = 99


def gguf_duplicate_tensor(m):
    m.tensor(GGUF_UP)[0] = "blk.0.ffn_up.weight"


def gguf_duplicate_key(m):
    m.pairs.append(m.pairs[1])


def gguf_absurd_shape(m):
    m.tensor(GGUF_UP)[2] = [2**60, 1]


def gguf_overflowing_shape(m):
    m.tensor(GGUF_UP)[2] = [2**40, 2**40]


def gguf_zero_extent(m):
    m.tensor(GGUF_UP)[2] = [0, 64]


def gguf_rank_9(m):
    m.tensor(GGUF_UP)[2] = [1] * 9


def gguf_beyond_the_end(m):
    m.tensor(GGUF_UP)[3] = 2**60


def gguf_overlap(m):
    m.tensor(GGUF_UP)[3] = 32


def gguf_misaligned(m):
    m.tensor(GGUF_UP)[3] = 33


def gguf_cut(m):
    m.cut = -4096


def gguf_cut_header(m):
    m.cut = 200


def gguf_empty(m):
    m.cut = 0


def gguf_magic(m):
    m.magic = b"GGML"


def gguf_version_1(m):
    m.version = 1


def gguf_version_4(m):
    m.version = 4


def gguf_big_endian(m):
    m.version = 3 << 24


def gguf_tensor_count(m):
    m.tensor_count = 2**60


def gguf_pair_count(m):
    m.pair_count = 2**60


def gguf_string_length(m):
    m.raw_pairs = string("general.name") + struct.pack("<IQ", STRING, 2**60)


def gguf_array_length(m):
    m.raw_pairs = string("general.tags") + struct.pack("<IIQ", ARRAY, U64, 2**61)


def gguf_nested_arrays(m):
    m.raw_pairs = string("general.tags") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 50


def gguf_alignment(m):
    m.set("general.alignment", U32, 3)


def gguf_alignment_0(m):
    m.set("general.alignment", U32, 0)


def gguf_adapter(m):
    m.set("general.type", STRING, "adapter")


def gguf_architecture(m):
    m.set("general.architecture", STRING, "rwkv6")


def gguf_no_heads(m):
    m.pairs = [p for p in m.pairs if p[0] != "llama.attention.head_count"]


def gguf_head_count_0(m):
    m.set("llama.attention.head_count", U32, 0)


def gguf_layers(m):
    m.set("llama.block_count", U32, 2**32 - 1)


def write(kind, path, faults):
    model = HuggingFace(path) if kind == "hf" else Gguf(path)
    for name in faults:
        if "=" in name:
            key, value = name.split("=", 1)
            value = json.loads(value)
            if kind == "hf":
                model.config[key] = value
            else:
                model.set(key, {str: STRING, int: U32, float: F32}[type(value)], value)
        else:
            globals()[f"{kind}_{name.replace('-', '_')}"](model)
    model.write()


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], sys.argv[3:])
