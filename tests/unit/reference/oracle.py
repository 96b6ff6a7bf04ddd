# Prints the values that ReferenceModelTest.cpp compares with: a tiny Llama in transformers, weights from a hash.
import torch
from transformers import LlamaConfig, LlamaForCausalLM

config = LlamaConfig(vocab_size=19, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=6, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0,
                     tie_word_embeddings=False, attn_implementation="eager")
model = LlamaForCausalLM(config).eval()


def hashed(name, count):
    """The test's hashedWeight."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 & 0xffffffff
    values = []
    for i in range(count):
        x = (seed + i * 2654435761) & 0xffffffff
        x = (x ^ x >> 15) * 2246822519 & 0xffffffff
        x = (x ^ x >> 13) * 3266489917 & 0xffffffff
        x ^= x >> 16
        values.append((x >> 8) / 2 ** 23 - 1)
    return torch.tensor(values, dtype=torch.float32)


with torch.no_grad():
    for name, parameter in model.named_parameters():
        parameter.copy_(hashed(name, parameter.numel()).reshape(parameter.shape))
        if "norm" in name:
            parameter += 1
    logits = model(torch.tensor([[1, 5, 18, 0, 7, 7, 3]])).logits[0]
    for row in (0, 3, 6):
        print("{" + ", ".join(f"{float(x):.7g}f" for x in logits[row]) + "},")
