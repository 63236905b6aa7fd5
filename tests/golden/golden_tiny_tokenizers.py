# SPDX-License-Identifier: Apache-2.0
"""Writes tokenizers/*.json: tiny tokenizers of every kind that Tapir reads, and expected.jsonl: what they make of odd texts.

    python golden_tiny_tokenizers.py                         rewrite them
    python golden_tiny_tokenizers.py --fuzz N LIBTAPIR.so    compare the library's ids on N random texts for each of them

A line of expected.jsonl is {"tokenizer", "text", "ids", "plain", "added", "decoded", "skipped"}: ids with special tokens
parsed, with them as plain text (where that differs), with what the post-processor adds (where that differs), and the ids back
to text, with and without special tokens (where they differ from the text, and from one another).
The trainer numbers the letters of `affixes` in any order, so that one and its rows come out differently each time.
Needs: tokenizers.
"""
import ctypes
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent / "tokenizers"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
BAR = "\u2581"

WORDS = ("the tapir walks through the forest at night and eats leaves fruit and bark it's shy they're "
         "quiet we'll see them where water flows returning int main void static const char double float "
         "loss step 123 45 7 2024 3.14 naïve café über straße Ελλάδα привет мир שלום مرحبا नमस्ते สวัสดี "
         "こんにちは 世界 你好 한국어 የኢትዮጵያ ქართული 😀 👍🏽 👨‍👩‍👧 ① ½ Ⅷ ٣٤ e\u0301 ﬁn").split(" ")
PIECES = WORDS + [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", ".", ",", "!", "?", "'s", "'LL", "\"", "(", ")",
                  "{", "}", "==", "_", "-", "\u00a0", "\u3000", "\u200b", "\u200d", "\u0301", "\u180e", "\u0085", "\u2028",
                  "\u0130", "\ufeff", "\u0000", BAR, "<0x41>", "</w>", "##", "<s>", "</s>", "<unk>", "<|a|>", "<|ab|>",
                  "<|end|>", "[X]", "tag", "Tag", "TAG", "mask", " mask "]


def text_of(rng, longest=14):
    return "".join(rng.choice(PIECES) + (" " if rng.random() < 0.4 else "") for _ in range(rng.randint(0, longest)))


def trained(tokenizer, size, some=False, **options):
    """some: on words of few scripts only, so that characters stay unknown (limit_alphabet would choose them at random)."""
    rng = random.Random(7)
    words = [w for w in WORDS if not some or max(w) < "\u0600"]
    lines = [" ".join(rng.choice(words) for _ in range(12)) for _ in range(300)]
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=size, show_progress=False, **options))
    return tokenizer


def special(*names):
    return [AddedToken(name, special=True, normalized=False) for name in names]


def byte_level(size, pre, **model):
    t = Tokenizer(models.BPE(**model))
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    return trained(t, size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def split_first(pattern):
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), level])


def begin(bos):
    return processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", bos)])


def gpt2():
    t = byte_level(500, pre_tokenizers.ByteLevel(add_prefix_space=True))
    t.add_special_tokens(special("<|end|>"))
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    return t


def llama3():
    t = byte_level(600, split_first(LLAMA3), ignore_merges=True)
    t.add_special_tokens(special("<s>", "<|end|>", "<|a|>", "<|ab|>"))
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin(t.token_to_id("<s>"))])
    return t


def qwen2():
    t = byte_level(500, split_first(QWEN2))
    t.normalizer = normalizers.NFC()
    t.add_special_tokens(special("<|end|>"))
    return t


def smollm():
    digits = pre_tokenizers.Digits(individual_digits=True)
    t = byte_level(500, pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    t.add_special_tokens(special("<|end|>"))
    return t


def bytes_and_special():
    return ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]


def llama2():
    """SentencePiece BPE as Llama 2's tokenizer.json writes it."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend(BAR), normalizers.Replace(" ", BAR)])
    t = trained(t, 640, special_tokens=bytes_and_special(), some=True, max_token_length=12)
    raw = json.loads(t.to_str())
    raw["added_tokens"] = [a for a in raw["added_tokens"] if a["id"] < 3]
    t = Tokenizer.from_str(json.dumps(raw))
    strip = decoders.Strip(" ", 1, 0)
    t.decoder = decoders.Sequence([decoders.Replace(BAR, " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    t.post_processor = begin(1)
    return t


def metaspace():
    """The newer way to write it: Metaspace, in front of the first piece only; unknown characters one by one."""
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    return trained(t, 420, special_tokens=["<unk>", "<s>", "</s>"], some=True, max_token_length=12)


def metaspace_split():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    return trained(t, 420, special_tokens=["<unk>", "<s>", "</s>"], some=True)


def affixes():
    """Prefixes, suffixes, and most normalizers and pre-tokenizers that are left."""
    t = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFKD(), normalizers.StripAccents(),
                                         normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=False)])
    affix = dict(continuing_subword_prefix="##", end_of_word_suffix="</w>")
    t = trained(t, 500, special_tokens=["<unk>", "<s>"], some=True, **affix)
    t.decoder = decoders.Replace("</w>", " ")
    return t


def added():
    """Added tokens that strip, that stand alone, that are searched in normalised text; punctuation merged with its neighbours."""
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous"),
        pre_tokenizers.Split("e", "merged_with_next"), pre_tokenizers.Split(Regex("[aeiou]+"), "contiguous")])
    t = trained(t, 300, special_tokens=["<unk>"], some=True)
    t.add_tokens([AddedToken("Tag", normalized=True), AddedToken("mask", normalized=False, lstrip=True),
                  AddedToken("[X]", normalized=False, rstrip=True), AddedToken("loss", normalized=False, single_word=True),
                  AddedToken("<|a|>", normalized=False), AddedToken("<|ab|>", normalized=True, lstrip=True, rstrip=True)])
    t.add_special_tokens(special("<s>", "</s>", "<|end|>"))
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    return t


KINDS = {f.__name__: f for f in (gpt2, llama3, qwen2, smollm, llama2, metaspace, metaspace_split, affixes, added)}


def expected(name, t, text):
    row = {"tokenizer": name, "text": text}
    row["ids"] = t.encode(text, add_special_tokens=False).ids
    t.encode_special_tokens = True
    plain = t.encode(text, add_special_tokens=False).ids
    t.encode_special_tokens = False
    around = t.encode(text).ids
    decoded, skipped = t.decode(row["ids"], False), t.decode(row["ids"], True)
    for key, value, same in (("plain", plain, row["ids"]), ("added", around, row["ids"]), ("decoded", decoded, text),
                             ("skipped", skipped, decoded)):
        if value != same:
            row[key] = value
    return row


def write():
    rng = random.Random(1)
    rows = []
    HERE.mkdir(exist_ok=True)
    for name, make in KINDS.items():
        t = make()
        text = t.to_str()
        (HERE / f"{name}.json").write_text(text + "\n")
        t = Tokenizer.from_str(text)
        texts = ["", " ", "  x", "the tapir", "The tapir's night: 12345 leaves!\n", BAR + "x", "<s>the tapir</s> <|end|>night",
                 "tag Tag TAG <|ab|> [X]  mask  loss lossy"]
        rows += [expected(name, t, s) for s in texts + [text_of(rng) for _ in range(40)] if "\x00" not in s]
    with open(HERE / "expected.jsonl", "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


class Ids(ctypes.Structure):
    _fields_ = [("id", ctypes.POINTER(ctypes.c_int32)), ("n", ctypes.c_int64), ("cap", ctypes.c_int64)]


def open_library(path):
    lib = ctypes.CDLL(path)
    for name in ("tp_ctx_new", "tp_tokenizer_open"):
        getattr(lib, name).restype = ctypes.c_void_p
    lib.tp_error.restype = ctypes.c_char_p
    lib.tp_tokenize.restype = ctypes.c_bool
    return lib


def tapir_ids(lib, ctx, tok, text, flags):
    ids = Ids()
    data = text.encode()
    if not lib.tp_tokenize(ctx, tok, data, ctypes.c_size_t(len(data)), flags, ctypes.byref(ids)):
        sys.exit(lib.tp_error(ctx).decode())
    row = ids.id[:ids.n]
    lib.tp_ids_free(ctypes.byref(ids))
    return row


def fuzz(n, path):
    lib = open_library(path)
    ctx = ctypes.c_void_p(lib.tp_ctx_new(0, 0))
    wrong = 0
    for name in KINDS:
        file = str(HERE / f"{name}.json")
        t = Tokenizer.from_file(file)
        tok = ctypes.c_void_p(lib.tp_tokenizer_open(ctx, file.encode()))
        rng = random.Random(n)
        texts = [text_of(rng, 60) for _ in range(n)]
        for flags, plain in ((3, False), (2, True)):
            t.encode_special_tokens = plain
            want = [e.ids for e in t.encode_batch(texts)]
            got = [tapir_ids(lib, ctx, tok, s, flags) for s in texts]
            bad = [i for i in range(n) if got[i] != want[i]]
            wrong += len(bad)
            print(name, "plain" if plain else "parsed", sum(map(len, want)), "ids,", len(bad), "texts differ")
            for i in bad[:2]:
                print("  ", repr(texts[i])[:150])
                for who, row in (("oracle", want[i]), ("tapir ", got[i])):
                    print("   ", who, [t.id_to_token(x) for x in row][:60])
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--fuzz":
        fuzz(int(sys.argv[2]), sys.argv[3])
    write()
