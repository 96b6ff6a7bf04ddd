# Prints the table of BlockFormatsTest.cpp: what gguf-py's dequantize gives for the test's pseudo-random blocks.
import numpy as np
from gguf import GGMLQuantizationType, GGML_QUANT_SIZES, quants

# Byte offsets of each format's f16 fields; every third block gets them from the extremes below.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00, 0x3C00]
BLOCKS = 96


def random_bytes(seed, count):
    state, out, mask = seed, bytearray(), (1 << 64) - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append((z ^ (z >> 31)) & 0xFF)
    return out


def fnv(words):
    value = 0xCBF29CE484222325
    for word in words:
        value = ((value ^ int(word)) * 0x100000001B3) & ((1 << 64) - 1)
    return value


np.seterr(all="ignore")
for seed, (name, halves) in enumerate(HALVES.items()):
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    data = random_bytes(seed, BLOCKS * size)
    for block in range(0, BLOCKS, 3):
        for i, offset in enumerate(halves):
            half = EXTREMES[(block // 3 + i * 3) % len(EXTREMES)]
            data[block * size + offset:block * size + offset + 2] = half.to_bytes(2, "little")
    values = quants.dequantize(np.frombuffer(bytes(data), np.uint8).reshape(BLOCKS, size), kind)
    bits = values.reshape(-1).view(np.uint32).copy()
    bits[np.isnan(values.reshape(-1))] = 0x7FC00000
    row = bits[elements:2 * elements]
    picked = ", ".join(f"0x{row[i]:08x}" for i in (0, 1, elements // 2 - 1, elements // 2, elements - 1))
    print(f"    {{F::block_{name.lower()}, {elements}, {size}, {{{', '.join(map(str, halves))}}}, 0x{fnv(bits):016x}, {{{picked}}}}},")
