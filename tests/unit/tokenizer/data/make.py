#!/usr/bin/env python3
"""Writes the test tokenizers of this folder and what the libraries they are made for answer.

Needs tokenizers and sentencepiece. Usage: make.py TRAINING_TEXT OUT_DIR [REAL_TOKENIZER_DIR TEXT...]
With a directory of real tokenizers, cases for them come too (not checked in: the vocabularies are not ours).
"""
import json, os, random, shutil, sys, unicodedata

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
import sentencepiece

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
FIXED = ["", " ", "  ", "   ", "\n", "\n\n\n", "\t\n ", "Hello world", " Hello, World!", "I'll DON'T you'VE ſ'ſ",
         "a  b   c    d", "3.14159 1234567", "नमस्ते दुनिया, यह एक परीक्षा है।", "日本語テスト 中文", "Führer café ½ ² ³",
         "e\u0301 a\u0308\u0323 \u0928\u093c \u212b \ufb01 \u1e9b\u0323", "🦙.cpp 👨‍👩‍👧‍👦 🇮🇳", "<s>[INST] x </s>", "<|eot|>tail <|eot|>",
         "word<mask> <mask>word <mask> ", "\u3000wide\u00a0space\u2003", "가각힣 \u1112\u1161\u11ab", "x" * 300, " " * 300, "ab" * 200,
         "\u0301" * 70, "né" * 50, "line one\r\nline two\r\n\r\n  indented", "`code` {a: [1, 2]}; <b>", "\u0000\u0001\u007f\u0085"]

def fuzz(rng, count):
    pools = ["abcdefghijklmnopqrstuvwxyz   etaoin", "ABC XYZ 'sStTlL dD'", "0123456789.,-+ ", " \t\n\r\u00a0\u2003\u3000",
             "".join(map(chr, range(0x900, 0x970))), "".join(map(chr, range(0x300, 0x340))) + "aeoun",
             "一二三漢字かなカナ", "🦙😀👩\u200d🚀🇮🇳\ufe0f", "!\"#$%&()*<>[]{}|~^`_", "ÀÉÎõüßﬁ①Ⅷ½Ωµ\u00ad", "가나다\u1100\u1161\u11a8"]
    out = []
    while len(out) < count:
        text = ""
        for _ in range(rng.randrange(1, 12)):
            pool = rng.choice(pools)
            if rng.random() < 0.15:
                c = chr(rng.randrange(1, 0x30000))
                if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
                    text += c
                continue
            text += "".join(rng.choice(pool) for _ in range(rng.randrange(1, 8)))
        out.append(text)
    return out

def write(folder, cases):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "cases.json"), "w") as f:
        json.dump(cases, f, ensure_ascii=True, separators=(",", ":"))

def hf_cases(tok, texts):
    cases = []
    for i, text in enumerate(texts):
        special = i % 2 == 0
        ids = tok.encode(text, add_special_tokens=special).ids
        cases.append({"text": text, "special": special, "ids": ids, "decoded": tok.decode(ids)})
    return cases

def spm_cases(sp, texts):
    cases = []
    for text in texts:
        # Control pieces are text to SentencePiece; equal paths of a long run differ by the rounding of one long f32 sum.
        if "\u0000" in text or "<" in text or text == "x" * 300:
            continue
        ids = sp.encode(text)
        cases.append({"text": text, "special": False, "ids": ids, "decoded": sp.decode(ids)})
    return cases

def main():
    training, out = sys.argv[1:3]
    rng = random.Random(7)
    texts = FIXED + fuzz(rng, 120)
    lines = open(training, encoding="utf-8").read().split("\n")[:12000] + FIXED * 3

    def save(name, tok):
        os.makedirs(f"{out}/{name}", exist_ok=True)
        tok.save(f"{out}/{name}/tokenizer.json", pretty=False)
        write(f"{out}/{name}", hf_cases(Tokenizer.from_file(f"{out}/{name}/tokenizer.json"), texts))

    def bpe(pre, vocab, **kw):
        tok = Tokenizer(models.BPE(**kw))
        tok.pre_tokenizer = pre
        tok.decoder = decoders.ByteLevel()
        tok.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                special_tokens=["<|bos|>", "<|eot|>"], show_progress=False))
        return tok
    from tokenizers import AddedToken
    byte_level = lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tok = bpe(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level()]), 900)
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                              processors.TemplateProcessing("<|bos|> $A", special_tokens=[("<|bos|>", 0)])])
    tok.add_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("word", single_word=True)])
    data = json.loads(tok.to_str())
    data["model"]["ignore_merges"] = True
    save("llama3", Tokenizer.from_str(json.dumps(data)))
    save("deepseek", bpe(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in DEEPSEEK] + [byte_level()]), 800))
    tok = bpe(pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
                                       pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]), 700)
    save("falcon", tok)
    tok = bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]), 600)
    tok.normalizer = normalizers.NFC()
    tok.add_tokens([AddedToken("<mask>", rstrip=True, normalized=True)])
    save("starcoder", tok)

    def unigram(norm, pre, decoder, name, **kw):
        tok = Tokenizer(models.Unigram())
        tok.normalizer, tok.pre_tokenizer, tok.decoder = norm, pre, decoder
        tok.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=700, unk_token="<unk>", special_tokens=["<s>", "</s>", "<unk>", "<mask>"], show_progress=False))
        tok.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
        save(name, tok)
    unigram(normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]),
            pre_tokenizers.Metaspace(), decoders.Metaspace(), "unigram")
    unigram(normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]),
            pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")]),
            decoders.Metaspace(prepend_scheme="first"), "unigram-lower")

    # SentencePiece-style BPE as tokenizer.json, with byte fallback.
    for kind, extra in (("bpe", dict(byte_fallback=True)), ("unigram", dict(byte_fallback=False))):
        folder = f"{out}/spm-{kind}"
        os.makedirs(folder, exist_ok=True)
        rules = {} if kind == "bpe" else {chr(c): unicodedata.normalize("NFKC", chr(c)) for c in range(0x80, 0x180)}
        rules |= {} if kind == "bpe" else {chr(a) + m: unicodedata.normalize("NFKC", chr(a) + m) for a in range(97, 123) for m in "\u0301\u0308"}
        with open(f"{folder}/rules.tsv", "w") as f:
            for a, b in rules.items():
                if a != b:
                    f.write("\t".join(" ".join(f"{ord(c):X}" for c in t) for t in (a, b)) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([l for l in lines if l and "\u0000" not in l]), model_prefix=f"{folder}/tokenizer", vocab_size=900, model_type=kind,
            character_coverage=0.9995, user_defined_symbols=["<mask>"], minloglevel=2, max_sentence_length=100000,
            **({"normalization_rule_name": "identity"} if kind == "bpe" else {"normalization_rule_tsv": f"{folder}/rules.tsv"}),
            remove_extra_whitespaces=kind != "bpe", **extra)
        os.remove(f"{folder}/tokenizer.vocab")
        os.remove(f"{folder}/rules.tsv")
        sp = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/tokenizer.model")
        write(folder, spm_cases(sp, texts))

    if len(sys.argv) > 3:
        from transformers import AutoTokenizer
        big = texts + fuzz(rng, 1500) + [open(p, encoding="utf-8").read() for p in sys.argv[4:]]
        for name in sorted(os.listdir(sys.argv[3])):
            source = f"{sys.argv[3]}/{name}"
            tok = Tokenizer.from_file(f"{source}/tokenizer.json") if os.path.exists(f"{source}/tokenizer.json") else None
            if tok is None:
                from transformers import GPT2TokenizerFast, Qwen2TokenizerFast
                cls = Qwen2TokenizerFast if "qwen" in name else GPT2TokenizerFast
                tok = cls.from_pretrained(source).backend_tokenizer
            shutil.copytree(source, f"{out}/{name}", dirs_exist_ok=True)
            os.chmod(f"{out}/{name}", 0o755)
            write(f"{out}/{name}", hf_cases(tok, big))

main()
