#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Records the merges that the trainer of Hugging Face's tokenizers finds on
chimera-nano's held-out texts, the one in each language:

    python3 -m pip install tokenizers==0.23.3
    python3 tests/oracles/bpe/record.py

tests/e2e/test_recipes.py holds models/common/bpe.py to them.
"""
import json
import os
import sys

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(HERE))), "models")
sys.path.insert(0, os.path.join(MODELS, "common"))
import bpe  # noqa: E402

VOCABULARY = 640


def main():
    texts = []
    for language in ("hi", "en"):
        with open(os.path.join(MODELS, "chimera-nano", f"validation-{language}.txt"), encoding="utf-8", newline="") as f:
            texts.append(f.read())
    t = tokenizers.Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(tokenizers.Regex(p), "isolated") for p in bpe.PATTERNS]
    t.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[bpe.BOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(t.to_str())["model"]
    with open(os.path.join(HERE, "merges.json"), "w", encoding="utf-8") as f:
        json.dump(dict(tokenizers=tokenizers.__version__, vocabulary=VOCABULARY, merges=[" ".join(m) for m in model["merges"]]), f,
                  indent=0, ensure_ascii=False)
        f.write("\n")


if __name__ == "__main__":
    main()
