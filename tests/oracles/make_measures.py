# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""What transformers says about questions and about two models on one text.

    python3 tests/oracles/make_measures.py

Writes measures/questions.jsonl and measures/measures.json for `mlc eval` and
`mlc perplexity --against`. The models are the shipped one and the same with
another RoPE base. Every number is from whole forwards in float64 softmaxes: no
cache, no sharing.
"""
import json
import os
import random
import shutil
import tempfile

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer

import oracle

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(os.path.dirname(os.path.dirname(HERE)), "models", "shakespeare")
OUT = os.path.join(HERE, "measures")
TEXT_BYTES, CONTEXT, STRIDE = 12000, 128, 48
ROPE_THETA = 11000.0


def validation():
    with open(os.path.join(MODEL, "validation.txt"), encoding="utf-8") as f:
        return f.read()


def log_probabilities(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


def make_questions():
    """Speeches to go on with, the right way being the text's; and what is awkward to cut."""
    rng = random.Random(5)
    speeches = [s for s in validation().split("\n\n") if 60 < len(s) < 300]
    picked = rng.sample(speeches, 40)
    questions = []
    for i in range(12):
        speech, others = picked[3 * i], [picked[3 * i + 1], picked[3 * i + 2]]
        cut = speech.rindex(" ", 0, len(speech) * 2 // 3)
        choices = [speech[cut:]] + [other[other.rindex(" ", 0, len(other) * 2 // 3):] for other in others]
        answer = rng.randrange(3)
        choices[0], choices[answer] = choices[answer], choices[0]
        questions.append(dict(context=speech[:cut], choices=choices, answer=answer))
    shots = "KING RICHARD:\nA horse! a horse! my kingdom for a horse!\n\n"
    questions += [
        dict(context=shots + "ROMEO:\nGood night, good ", choices=["night", "morrow, cousin", "n"], answer=0),
        dict(context=shots + "ROMEO:\nGood night, sweet", choices=[" Juliet", "est", "s", " lord"], answer=0),
        dict(context="", choices=["First Citizen:\n", "zebra crossing", "\n"], answer=0),
        dict(context="GLOUCESTER:\nNow", choices=[f" {w}" for w in (
            "is", "are", "the", "my", "a", "by", "all", "let", "come", "will", "Ich dächte “ja”")], answer=0),
    ]
    return questions


def score(model, tokenizer, question):
    """The sums over the tokens behind those that the context alone begins with."""
    alone, sums = tokenizer(question["context"]).input_ids, []
    for choice in question["choices"]:
        ids = tokenizer(question["context"] + choice).input_ids
        begin = next((i for i, (a, b) in enumerate(zip(alone, ids)) if a != b), min(len(alone), len(ids)))
        logs = log_probabilities(model, ids)
        sums.append(sum(float(logs[i - 1, ids[i]]) for i in range(begin, len(ids))))
    lengths = [len(choice.lstrip()) or 1 for choice in question["choices"]]
    return dict(log_likelihoods=sums, choice=int(np.argmax(sums)),
                choice_normalised=int(np.argmax(np.array(sums) / lengths)))


def compare(model, reference, ids):
    """Each token once, in the first window that holds it and a token before it."""
    nll, kl, agreed, done, begin = [], [], [], 1, 0
    while done < len(ids):
        window = ids[begin:begin + CONTEXT]
        if done < begin + len(window):
            p, q = log_probabilities(reference, window), log_probabilities(model, window)
            for at in range(max(done, begin + 1) - begin, len(window)):
                nll.append(-float(q[at - 1, window[at]]))
                kl.append(float((p[at - 1].exp() * (p[at - 1] - q[at - 1])).sum()))
                agreed.append(bool(p[at - 1].argmax() == q[at - 1].argmax()))
            done = begin + len(window)
        begin += STRIDE
    return dict(tokens=len(nll), nll=float(np.mean(nll)), perplexity=float(np.exp(np.mean(nll))),
                mean_kl=float(np.mean(kl)), p99_kl=float(np.quantile(kl, 0.99, method="lower")),
                top1_agreement=float(np.mean(agreed)))


def main():
    os.makedirs(OUT, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    shipped = oracle.load(MODEL)
    with tempfile.TemporaryDirectory() as other:
        for name in os.listdir(MODEL):
            shutil.copyfile(os.path.join(MODEL, name), os.path.join(other, name))
        with open(os.path.join(MODEL, "config.json")) as f:
            config = json.load(f)
        config["rope_parameters"]["rope_theta"] = ROPE_THETA
        with open(os.path.join(other, "config.json"), "w") as f:
            json.dump(config, f)
        moved = oracle.load(other)
    questions = make_questions()
    with open(os.path.join(OUT, "questions.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
    lines = [score(shipped, tokenizer, question) for question in questions]
    ids = tokenizer(validation()[:TEXT_BYTES]).input_ids
    measures = dict(
        transformers=transformers.__version__, torch=torch.__version__.split("+")[0],
        eval=dict(questions=len(lines), lines=lines,
                  accuracy=float(np.mean([l["choice"] == q["answer"] for l, q in zip(lines, questions)])),
                  accuracy_normalised=float(np.mean(
                      [l["choice_normalised"] == q["answer"] for l, q in zip(lines, questions)]))),
        perplexity=dict(text_bytes=TEXT_BYTES, context=CONTEXT, stride=STRIDE, rope_theta=ROPE_THETA,
                        **compare(moved, shipped, ids)))
    with open(os.path.join(OUT, "measures.json"), "w") as f:
        json.dump(measures, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
