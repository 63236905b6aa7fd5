# SPDX-License-Identifier: Apache-2.0
"""Does `tapir finetune` walk the path that PyTorch walks? 20 steps in f32, loss and gradient norm compared at each.

    python parity_train.py [--case NAME ...]      compare tapir with PyTorch (run now)
    python parity_train.py --stored [--case ...]  compare tapir with train-NAME.json: needs no torch
    python parity_train.py --write [--case ...]   let PyTorch rewrite train-NAME.json

Cases: diablo-64 and diablo-50 (the official DiaBlo code), lora-16 (HF PEFT), full. 4 lines of MAWPS a step, in the order of the
file: ids(prompt) + ids(completion) + eos, tokenised apart, padded on the right, the loss on completion and eos. AdamW, constant
learning rate, no clipping. LoRA's A is given by a formula (train_oracle.py) and reaches tapir as the folder that PEFT saves
(--lora-from h5: as an adapter file). Each loss and norm must agree within 1e-3, full finetuning 5e-3.
Needs: torch, transformers, peft, numpy; h5py and numpy alone for --stored with lora-16.
"""
import json
import os
import sys
import tempfile

import oracle
import train_oracle

STEPS, BATCH, RANK, ALPHA = 20, 4, 16, 32
CASES = {
    "diablo-64": dict(method="diablo", blocks=64, lr=5e-4, tolerance=1e-3),
    "diablo-50": dict(method="diablo", blocks=50, lr=5e-4, tolerance=1e-3),
    "lora-16": dict(method="lora", rank=RANK, alpha=ALPHA, lr=5e-4, tolerance=1e-3),
    "full": dict(method="full", lr=2e-5, tolerance=5e-3),
}
SHAPE = dict(layers=30, width=576, kv=192, mlp=1536)  # of SmolLM2-135M: for lora-16 without torch


def golden(name):
    return oracle.HERE / f"train-{name}.json"


def lines(data):
    rows = oracle.read_jsonl(os.path.join(data, "mawps", "train.jsonl"))[:STEPS * BATCH]
    return [{k: r[k] for k in ("prompt", "completion")} for r in rows]


def lora_start(numpy):
    """The A and B of with_lora, from the shapes alone."""
    sizes = dict(q_proj=("self_attn", "width", "width"), k_proj=("self_attn", "width", "kv"), v_proj=("self_attn", "width", "kv"),
                 up_proj=("mlp", "width", "mlp"), down_proj=("mlp", "mlp", "width"))
    start = {}
    for layer in range(SHAPE["layers"]):
        for name, (part, rows, columns) in sizes.items():
            a = train_oracle.initial_lora_A(numpy, len(start), RANK, SHAPE[rows])
            start[f"model.layers.{layer}.{part}.{name}"] = (a, numpy.zeros((SHAPE[columns], RANK), numpy.float32))
    return start


class Torch:
    """The oracle: PyTorch with transformers, PEFT and the official DiaBlo code."""

    def __init__(self, options):
        oracle.need(options, "hf", "data")
        self.options = options
        self.torch, self.transformers = oracle.module("torch"), oracle.module("transformers")
        self.transformers.utils.logging.disable_progress_bar()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(options.hf)
        eos, rows = tokenizer.eos_token_id, []
        for line in lines(options.data):
            prompt = tokenizer(line["prompt"]).input_ids
            rows.append((prompt + tokenizer(line["completion"]).input_ids + [eos], len(prompt)))
        self.batches = [train_oracle.collate(self.torch, rows[i:i + BATCH], eos) for i in range(0, len(rows), BATCH)]

    def model(self, case):
        model = self.transformers.AutoModelForCausalLM.from_pretrained(self.options.hf, dtype=self.torch.float32)
        if case["method"] != "full":
            model.requires_grad_(False)
        if case["method"] == "diablo":
            oracle.need(self.options, "diablo")
            sys.path.insert(0, self.options.diablo)
            oracle.module("block_linear").replace_linear_with_blocklinear(model, case["blocks"], 0.0, train_oracle.TARGETS)
            for name, p in model.named_parameters():
                p.requires_grad_(name.endswith("block_A"))
        if case["method"] == "lora":
            numpy, peft = oracle.module("numpy"), oracle.module("peft")
            model, start = train_oracle.with_lora(self.torch, peft, numpy, model, RANK, ALPHA)
            assert list(start) == list(lora_start(numpy)), "the shapes of SHAPE are not this model's"
        return model

    def run(self, case):
        model = self.model(case)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        loss, norm = train_oracle.train(self.torch, model, self.batches, case["lr"])
        return dict(trainable=trainable, target_tokens=[int((b["labels"][:, 1:] >= 0).sum()) for b in self.batches], loss=loss, grad_norm=norm)


def adapter(options, folder):
    """The initial LoRA as a file (Tapir's) or a folder (PEFT's) for --adapter."""
    numpy = oracle.module("numpy")
    if options.lora_from == "hf":
        torch, transformers, peft = oracle.module("torch"), oracle.module("transformers"), oracle.module("peft")
        model = transformers.AutoModelForCausalLM.from_pretrained(options.hf, dtype=torch.float32)
        train_oracle.with_lora(torch, peft, numpy, model, RANK, ALPHA)[0].save_pretrained(os.path.join(folder, "peft"))
        return os.path.join(folder, "peft")
    path = os.path.join(folder, "adapter.h5")
    train_oracle.write_adapter(oracle.module("h5py"), numpy, path, lora_start(numpy), RANK, ALPHA, "(q|k|v|up|down)_proj")
    return path


def by_tapir(options, case, folder):
    data, out = os.path.join(folder, "data.jsonl"), os.path.join(folder, "run")
    oracle.write_jsonl(data, lines(options.data))
    words = ["--model", options.model, "--dtype", "f32", "--data", data, "--out", out, "--method", case["method"], "--lr", case["lr"],
             "--template", "none", "--no-shuffle", "--schedule", "constant", "--clip", 0, "--batch", BATCH, "--steps", STEPS]
    if case["method"] == "diablo":
        words += ["--blocks", case["blocks"]]
    if case["method"] == "lora":
        words += ["--rank", RANK, "--alpha", ALPHA, "--adapter", adapter(options, folder)]
    oracle.run_tapir(options, "finetune", *words, *options.more)
    return [row for row in oracle.read_jsonl(os.path.join(out, "log.jsonl")) if "grad_norm" in row]


def compare(name, want, log, tolerance):
    if len(log) != STEPS:
        sys.exit(f"{name}: log.jsonl has {len(log)} steps instead of {STEPS}")
    off = lambda got, wanted: abs(got - wanted) / abs(wanted)
    losses = [off(row["loss"], w) for row, w in zip(log, want["loss"])]
    norms = [off(row["grad_norm"], w) for row, w in zip(log, want["grad_norm"])]
    tokens = [row["target_tokens"] for row in log] == want["target_tokens"]
    ok = tokens and all(d <= tolerance for d in losses + norms)  # a NaN is not <=
    print(f"{name}: loss {want['loss'][0]:.4f} to {want['loss'][-1]:.4f}; largest relative difference of a loss {max(losses):.1e}, "
          f"of a gradient norm {max(norms):.1e} (allowed {tolerance:g}); target tokens {'equal' if tokens else 'DIFFERENT'}: "
          f"{'ok' if ok else 'WRONG'}")
    if not ok:
        for i, (row, a, b) in enumerate(zip(log, losses, norms)):
            print(f"  step {i + 1:2}: loss {row['loss']:.6f} / {want['loss'][i]:.6f} ({a:.1e}), "
                  f"norm {row['grad_norm']:.6f} / {want['grad_norm'][i]:.6f} ({b:.1e})")
    return ok


def main():
    parser = oracle.arguments(__doc__, "hf", "gguf", "diablo", "data", "tapir")
    parser.add_argument("--case", action="append", choices=CASES, help="default: all")
    parser.add_argument("--model", help="what tapir reads; default: the GGUF file")
    parser.add_argument("--lora-from", choices=["h5", "hf"], default="hf", help="h5: as h5py writes it, readable only for few layers")
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("more", nargs="*", help="after --: further options for tapir finetune")
    options = parser.parse_args()
    options.model = options.model or options.gguf
    oracle.need(options, "data")
    if not options.write:
        oracle.need(options, "tapir", "model")
    torch = None if options.stored else Torch(options)
    good = True
    for name in options.case or CASES:
        case = CASES[name]
        want = json.loads(golden(name).read_text()) if options.stored else torch.run(case)
        if options.write:
            oracle.write_json(golden(name), dict({k: v for k, v in case.items() if k != "tolerance"}, batch=BATCH, **want))
            print(f"{golden(name).name}: {want['trainable']:,} parameters, loss {want['loss'][0]:.4f} to {want['loss'][-1]:.4f}, "
                  f"norm {want['grad_norm'][0]:.4f} to {want['grad_norm'][-1]:.4f}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            good &= compare(name, want, by_tapir(options, case, folder), case["tolerance"])
    sys.exit(not good)


main()
