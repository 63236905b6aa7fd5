# SPDX-License-Identifier: Apache-2.0
"""Do `tapir score` and `tapir generate` give what transformers gives from the same weights in f32?

    python parity_score.py              compare tapir with transformers (run now)
    python parity_score.py --stored     compare tapir with score.jsonl: needs neither torch nor a Hugging Face directory
    python parity_score.py --write      let transformers rewrite score.jsonl

32 prompt/completion lines (28 of MAWPS, 4 easy ones): the log-probability of the completion within 1e-3, the same number of
tokens, the same "greedy"; and the greedy continuation of "start", the first half of the prompt, by 24 tokens, the same text.
Eight lines of plain text (scored from the first token, after bos) come on top. No template: prompt and completion are tokenised
apart, nothing is added to them.
Needs: torch, transformers.
"""
import json
import os
import sys
import tempfile

import oracle

GOLDEN = oracle.HERE / "score.jsonl"
LINES, NEW, TOLERANCE = 32, 24, 1e-3
EASY = [("Monday, Tuesday, Wednesday, Thursday,", " Friday, Saturday"), ("one two three four five six seven", " eight nine ten"),
        ("A B C D E F G H I J K L", " M N O P"), ("The capital of France is", " Paris")]


def samples(data):
    rows = [(r["prompt"], r["completion"]) for r in oracle.read_jsonl(os.path.join(data, "mawps", "test.jsonl"))[:LINES + 4]]
    for prompt, completion in EASY + rows[:LINES - len(EASY)]:
        words = prompt.split(" ")
        yield {"prompt": prompt, "completion": completion, "start": " ".join(words[:(len(words) + 1) // 2])}
    yield from ({"text": prompt + "\n" + completion} for prompt, completion in rows[LINES - len(EASY):])


def by_transformers(options):
    """The samples with the oracle's logprob, tokens, greedy, continuation; `gap` is how sure the closest greedy choice was."""
    torch, transformers = oracle.module("torch"), oracle.module("transformers")
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.hf)
    model = transformers.AutoModelForCausalLM.from_pretrained(options.hf, dtype=torch.float32).eval()
    for sample in samples(options.data):
        given = tokenizer(sample["prompt"]).input_ids if "prompt" in sample else [tokenizer.bos_token_id]
        target = tokenizer(sample.get("completion", sample.get("text"))).input_ids
        with torch.no_grad():
            logits = model(torch.tensor([given + target])).logits[0, len(given) - 1:-1]
        picked = torch.tensor(target)
        logprob = logits.double().log_softmax(-1).gather(1, picked[:, None]).sum().item()
        row = dict(sample, logprob=logprob, tokens=len(target), greedy=bool((logits.argmax(-1) == picked).all()))
        if "start" in sample:
            ids, gap = greedy(torch, model, tokenizer(sample["start"]).input_ids, tokenizer.eos_token_id)
            row.update(continuation=tokenizer.decode(ids, skip_special_tokens=True), ids=ids, gap=gap)
        yield row


def greedy(torch, model, ids, eos):
    """Up to NEW tokens, without a cache; and the smallest distance between the best and the second logit."""
    new, gap = [], float("inf")
    for _ in range(NEW):
        with torch.no_grad():
            best = model(torch.tensor([ids + new])).logits[0, -1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        if best.indices[0] == eos:
            break
        new.append(best.indices[0].item())
    return new, gap


def by_tapir(options, rows):
    common = ["--model", options.model, "--dtype", "f32", "--template", "none"]
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data.jsonl")
        oracle.write_jsonl(data, [{k: r[k] for k in ("prompt", "completion", "text") if k in r} for r in rows])
        scored = [json.loads(line) for line in oracle.run_tapir(options, "score", *common, "--data", data).splitlines()]
    if len(scored) != len(rows):
        sys.exit(f"tapir score: {len(rows)} lines in, {len(scored)} lines out")
    for row, got in zip(rows, scored):
        if "start" in row:
            out = oracle.run_tapir(options, "generate", *common, "--max-new", NEW, "--prompt", row["start"])
            got["continuation"] = out.decode()
    return scored


def main():
    parser = oracle.arguments(__doc__, "hf", "gguf", "data", "tapir")
    parser.add_argument("--model", help="what tapir reads; default: the GGUF file")
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.model = options.model or options.gguf
    if not options.write:
        oracle.need(options, "tapir", "model")
    if options.stored:
        rows = oracle.read_jsonl(GOLDEN)
    else:
        oracle.need(options, "hf", "data")
        rows = list(by_transformers(options))
    if options.write:
        oracle.write_jsonl(GOLDEN, rows)
        print(f"{GOLDEN.name}: {len(rows)} lines, smallest gap of a greedy choice {min(r.get('gap', 9) for r in rows):.4f}")
        return
    worst, bad, different = 0.0, 0, 0
    for i, (row, got) in enumerate(zip(rows, by_tapir(options, rows)), 1):
        off = abs(got["logprob"] - row["logprob"])
        worst = max(worst, off)
        if not off <= TOLERANCE or got["tokens"] != row["tokens"] or got["greedy"] != row["greedy"]:
            bad += 1
            print(f"  line {i}: tapir {got}\n    oracle { {k: row[k] for k in ('logprob', 'tokens', 'greedy')} }")
        if "continuation" in row and got["continuation"] not in (row["continuation"], row["continuation"] + "\n"):
            different += 1
            print(f"  line {i}, smallest gap {row['gap']:.4f}:\n    tapir  {got['continuation']!r}\n    oracle {row['continuation']!r}")
    print(f"score: largest difference of a logprob {worst:.2e} (allowed {TOLERANCE:g}), {bad} of {len(rows)} lines wrong")
    print(f"generate: {different} of {LINES} continuations of {NEW} tokens differ")
    sys.exit(bad + different > 0)


main()
