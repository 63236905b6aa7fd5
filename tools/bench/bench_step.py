# SPDX-License-Identifier: Apache-2.0
"""Training steps of Tapir beside those of PyTorch (torch_step.py): seconds and peak memory, in one table.

    python bench_step.py --smollm2 DIR [--model smollm2 --model 15m] [--method ...] [--dtype ...] [--rounds 2] [--steps 6]

Models: smollm2 is the Hugging Face directory DIR (TAPIR_MODEL_HF; tests/golden/gguf_to_hf.py makes it); 15m is a Llama 288 wide with 6
layers and random weights, written beside it with the first 32,000 tokens of its tokenizer. Methods: diablo (N = 64; 32 for 15m), lora
(r = 16), full. Batches of 4 x 256 tokens, the same on both sides; both processes alternate, Tapir first, for --rounds rounds. A time is
the smallest of all steps but the first two of a process; memory is the largest VmHWM of a process. Where the CPU does not multiply bf16,
bf16 is timed for Tapir alone: PyTorch would take many times longer. --out keeps the rows as JSON lines; --only tapir leaves PyTorch out.
Needs on PyTorch's side: torch, transformers, peft, DIABLO_DIR. Python that runs it: --python, default this one.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BATCH, SEQ, WARM = 4, 256, 2
RATE = {"diablo": 5e-4, "lora": 5e-4, "full": 1e-5}


def cpu():
    """(name, flags) of the first CPU."""
    fields = {}
    with open("/proc/cpuinfo") as f:
        for line in f:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    return fields.get("model name", "unknown"), set(fields.get("flags", "").split())


def write_15m(folder, source):
    """The 15M model as a Hugging Face directory; its tokenizer is the source's, cut to 32,000 entries."""
    import torch
    import transformers
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    config = transformers.LlamaConfig(hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6,
                                      vocab_size=32000, tie_word_embeddings=True, max_position_embeddings=2048, bos_token_id=1, eos_token_id=2,
                                      pad_token_id=2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    model = tokenizer["model"]
    model["vocab"] = {token: i for token, i in model["vocab"].items() if i < 32000}
    pairs = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
    model["merges"] = [pair for pair in pairs if {*pair, "".join(pair)} <= model["vocab"].keys()]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    shutil.copy(source / "tokenizer_config.json", folder)


def write_text(path, steps):
    """Lines longer than SEQ tokens in any tokenizer with pieces of less than ten letters; --overflow cut shortens them."""
    rng = random.Random(0)
    words = "the a of in train model block step loss and with small large river tree one two three four".split()
    with open(path, "w") as f:
        for _ in range(steps * BATCH):
            f.write(json.dumps({"text": " ".join(rng.choices(words, k=2 * SEQ))}) + "\n")


def time_tapir(options, model, method, dtype, blocks):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_text(folder / "data.jsonl", options.steps)
        command = [options.tapir, "finetune", "--model", model, "--data", folder / "data.jsonl", "--out", folder / "run", "--method", method,
                   "--dtype", dtype, "--template", "none", "--max-len", SEQ, "--overflow", "cut", "--batch", BATCH, "--steps", options.steps,
                   "--schedule", "constant", "--no-shuffle", "--lr", RATE[method], "--threads", options.threads, "--quiet"]
        command += dict(diablo=["--blocks", blocks], lora=["--rank", 16, "--alpha", 32], full=[])[method]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"tapir finetune: exit status {done.returncode}\n{done.stderr}")
        rows = [json.loads(line) for line in open(folder / "run" / "log.jsonl")]
    steps = [row for row in rows if "grad_norm" in row]
    tokens = {row["tokens"] for row in steps}
    if len(steps) != options.steps or not tokens <= set(range(BATCH * (SEQ - 1), BATCH * SEQ + 1)):
        sys.exit(f"tapir finetune: {len(steps)} steps of {sorted(tokens)} tokens instead of {options.steps} of {BATCH * SEQ}")
    return [row["seconds"] for row in steps[WARM:]], max(row["peak_mib"] for row in steps)


def time_torch(options, model, method, dtype, blocks):
    words = [options.python, HERE / "torch_step.py", "--model", model, "--method", method, "--dtype", dtype, "--batch", BATCH, "--seq", SEQ,
             "--steps", options.steps, "--threads", options.threads, "--blocks", blocks]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"torch_step.py: exit status {done.returncode}\n{done.stderr}")
    row = json.loads(done.stdout.splitlines()[-1])
    return [row["min_s"]], row["peak_mib"]


def compare(options, sides, *case):
    """{side: (seconds, MiB)}: the sides take turns."""
    seconds, memory = {side: [] for side in sides}, dict.fromkeys(sides, 0)
    for _ in range(options.rounds):
        for side, measure in sides.items():
            some, peak = measure(options, *case)
            seconds[side] += some
            memory[side] = max(memory[side], peak)
    return {side: (min(seconds[side]), memory[side]) for side in sides}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=pathlib.Path, default=os.environ.get("TAPIR_MODEL_HF"))
    parser.add_argument("--tapir", default=os.environ.get("TAPIR", HERE.parent.parent / "build" / "tapir"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--model", action="append", choices=["smollm2", "15m"])
    parser.add_argument("--method", action="append", choices=["diablo", "lora", "full"])
    parser.add_argument("--dtype", action="append", choices=["f32", "bf16"])
    parser.add_argument("--only", choices=["tapir", "torch"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    if not options.smollm2 or not options.smollm2.exists():
        parser.exit(77, "bench_step.py: skipped: no --smollm2 and no TAPIR_MODEL_HF\n")
    if options.only != "torch" and not os.path.exists(options.tapir):
        parser.exit(77, f"bench_step.py: skipped: {options.tapir} does not exist (--tapir, TAPIR)\n")
    if options.steps <= WARM:
        parser.error(f"--steps must be more than {WARM}")
    return options


def main():
    options = arguments()
    name, flags = cpu()
    bf16 = sorted(flags & {"avx512_bf16", "amx_bf16"})
    print(f"CPU: {name}; bf16 products: {', '.join(bf16) or 'none'}; {options.threads} threads, {BATCH} x {SEQ} tokens, "
          f"{options.rounds} x {options.steps} steps\n")
    print("| model | method | dtype | tapir s | torch s | torch/tapir | tapir MiB | torch MiB | tapir/torch |\n" + "| --- " * 3 + "| --: " * 6 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for model in options.model or ["smollm2", "15m"]:
            path = options.smollm2 if model == "smollm2" else pathlib.Path(folder)
            if model == "15m":
                write_15m(path, options.smollm2)
            for dtype in options.dtype or ["f32", "bf16"]:
                sides = {"tapir": time_tapir, "torch": time_torch}
                if dtype == "bf16" and not bf16:
                    print(f"PyTorch skipped for {model} in bf16: this CPU has neither avx512_bf16 nor amx_bf16", file=sys.stderr)
                    del sides["torch"]
                if options.only:
                    sides = {side: measure for side, measure in sides.items() if side == options.only}
                for method in options.method or ["diablo", "lora", "full"]:
                    got = compare(options, sides, path, method, dtype, 32 if model == "15m" else 64) if sides else {}
                    report(options, model, method, dtype, got)


def report(options, model, method, dtype, got):
    tapir, torch = got.get("tapir"), got.get("torch")
    cells = [f"{tapir[0]:.3f}" if tapir else "-", f"{torch[0]:.3f}" if torch else "-", f"{torch[0] / tapir[0]:.2f}" if tapir and torch else "-",
             f"{tapir[1]:.0f}" if tapir else "-", f"{torch[1]:.0f}" if torch else "-", f"{tapir[1] / torch[1]:.2f}" if tapir and torch else "-"]
    print(f"| {model} | {method} | {dtype} | " + " | ".join(cells) + " |", flush=True)
    if options.out:
        with open(options.out, "a") as f:
            f.write(json.dumps(dict(model=model, method=method, dtype=dtype, cpu=cpu()[0], threads=options.threads, seconds_mib=got)) + "\n")


main()
