# SPDX-License-Identifier: Apache-2.0
"""Are Tapir's token ids those of Hugging Face tokenizers, on more than 1 MB of all kinds of text?

    python golden_tokenizer.py [--model M ...]     compare `tapir tokenize --model M`, and its --decode, on the whole corpus
    python golden_tokenizer.py --write             rewrite tokenizer.jsonl, the part that the tests keep
    python golden_tokenizer.py --dump DIR          write corpus.txt and ids.jsonl, line by line

M is the GGUF file and the Hugging Face directory by default. The corpus is made by corpus.py; the oracle is the tokenizer.json
of the Hugging Face directory. Control tokens in the text are parsed as Hugging Face does. Exits with 1 on any difference.
Needs: tokenizers.
"""
import json
import os
import sys

import corpus
import oracle

GOLDEN = oracle.HERE / "tokenizer.jsonl"
LIMIT = 56_000  # bytes of the part that the tests keep


def pick(parts, encode):
    """Short lines of every kind, evenly spread, until the file is full."""
    share = LIMIT // len(parts)
    for lines in parts.values():
        short = [line for line in lines if len(line.encode()) <= 200 and "\x00" not in line]
        room = share
        for line in short[::max(1, len(short) // 120)]:
            row = {"text": line, "ids": encode(line)}
            room -= len(json.dumps(row, ensure_ascii=False).encode()) + 1
            if room < 0:
                break
            yield row


def compare(options, model, lines, ids, texts):
    """The number of lines on which tapir differs, in encoding and in decoding."""
    wrong = []
    for words, given, wanted in ((["--model", model], lines, ids), (["--model", model, "--decode"], [json.dumps(i) for i in ids], texts)):
        out = oracle.run_tapir(options, "tokenize", *words, stdin=("\n".join(given) + "\n").encode())
        got = [json.loads(row) for row in out.decode().split("\n")[:-1]]
        if len(got) != len(wanted):
            sys.exit(f"tapir tokenize {' '.join(words)}: {len(wanted)} lines in, {len(got)} lines out")
        bad = [i for i, (a, b) in enumerate(zip(got, wanted)) if a != b]
        for i in bad[:5]:
            print(f"  line {i + 1}: {given[i]!r:.200}\n    tapir  {got[i]!r:.200}\n    oracle {wanted[i]!r:.200}")
        wrong.append(len(bad))
    return wrong


def main():
    parser = oracle.arguments(__doc__, "hf", "gguf", "data", "tapir")
    parser.add_argument("--model", action="append")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--dump", metavar="DIR")
    options = parser.parse_args()
    oracle.need(options, "hf", "data")
    tokenizers = oracle.module("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(options.hf, "tokenizer.json"))
    parts = corpus.build(options.data)
    lines = [line for some in parts.values() for line in some]
    ids = [e.ids for e in tokenizer.encode_batch(lines)]
    texts = tokenizer.decode_batch(ids, skip_special_tokens=False)
    size = len("\n".join(lines).encode())
    print(f"{len(lines):,} lines, {size:,} bytes, {sum(map(len, ids)):,} tokens: " + ", ".join(f"{k} {len(v):,}" for k, v in parts.items()))
    if size < 1_000_000:
        sys.exit("the corpus is smaller than 1 MB")
    if options.write:
        oracle.write_jsonl(GOLDEN, pick(parts, lambda line: tokenizer.encode(line).ids))
        print(f"{GOLDEN.name}: {len(oracle.read_jsonl(GOLDEN))} lines, {os.path.getsize(GOLDEN):,} bytes")
        return
    if options.dump:
        os.makedirs(options.dump, exist_ok=True)
        with open(os.path.join(options.dump, "corpus.txt"), "w", encoding="utf-8", newline="") as f:
            f.writelines(line + "\n" for line in lines)
        oracle.write_jsonl(os.path.join(options.dump, "ids.jsonl"), ids)
        return
    oracle.need(options, "tapir")
    failed = 0
    for model in options.model or [m for m in (options.gguf, options.hf) if m]:
        encoded, decoded = compare(options, model, lines, ids, texts)
        print(f"{model}: {encoded} of {len(lines):,} lines encoded differently, {decoded} decoded differently")
        failed += encoded + decoded
    sys.exit(failed > 0)


main()
