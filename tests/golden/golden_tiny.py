# SPDX-License-Identifier: Apache-2.0
"""Writes tiny-*/: random models of some 65,000 weights, and what transformers and PyTorch compute with them, in golden.json.

    python golden_tiny.py            rewrite the three folders
    python golden_tiny.py --check    compute again and compare with golden.json (relative 1e-4)

tiny-llama   tied head; config.json in the dialect of transformers 5
tiny-qwen2   biases of q, k and v, untied head; weights in two shards
tiny-rope3   llama3 rope scaling, head_dim 24 (not 64 / 4); config.json in the dialect of transformers 4

golden.json: "logits" of "ids", the "greedy" continuation of the first 8 ids, for tiny-llama also the logits under linear rope
scaling; and ten AdamW steps, step s on batches[s % 3], for each of the "cases": loss and gradient norm. The loss is on what
follows each "prompt". All weights are bf16 numbers stored as f32, so that a bf16 run starts from the same model.
Needs: torch, transformers, safetensors, peft, numpy; the official DiaBlo code, where given, is compared with the one below.
"""
import json
import math
import os
import shutil
import sys

import oracle
import train_oracle

torch, transformers, numpy, peft = (oracle.module(name) for name in ("torch", "transformers", "numpy", "peft"))
STEPS = 10
SMALL = dict(vocab_size=128, hidden_size=64, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=2)
LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
CASES = {
    "diablo-8": dict(method="diablo", blocks=8, lr=1e-2),
    "diablo-7": dict(method="diablo", blocks=7, lr=1e-2),
    "lora-4": dict(method="lora", rank=4, alpha=8, lr=1e-2),
    "full": dict(method="full", lr=1e-3),
}


def config(name, **more):
    rope = lambda scaling: dict(rope_parameters=dict(scaling or {"rope_type": "default"}, rope_theta=10000.0))
    if name == "tiny-llama":
        return transformers.LlamaConfig(**SMALL, tie_word_embeddings=True, rms_norm_eps=1e-5, **rope(more.get("scaling")))
    if name == "tiny-qwen2":
        return transformers.Qwen2Config(**dict(SMALL, intermediate_size=64), tie_word_embeddings=False, rms_norm_eps=1e-6, **rope(None))
    wide = dict(SMALL, intermediate_size=48, head_dim=24)
    return transformers.LlamaConfig(**wide, tie_word_embeddings=True, rms_norm_eps=1e-5, **rope(LLAMA3))


def new_model(name, seed):
    """A model with weights from which every part of the network matters."""
    model = transformers.AutoModelForCausalLM.from_config(config(name), dtype=torch.float32)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, p in model.named_parameters():
            x = torch.randn(p.shape, generator=random)
            x = 1 + 0.2 * x if "norm" in key else 0.3 * x if key.endswith("bias") else 0.15 * x
            p.copy_(x.bfloat16().float())
    return model


def save(model, name, folder):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, max_shard_size="160KB" if name == "tiny-qwen2" else "1GB")
    os.remove(folder / "generation_config.json")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    path = folder / "config.json"
    values = json.loads(path.read_text())
    if name == "tiny-rope3":
        values["rope_scaling"] = values.pop("rope_parameters")
        values["rope_theta"] = values["rope_scaling"].pop("rope_theta")
        values["torch_dtype"] = values.pop("dtype")
        values["transformers_version"] = "4.46.0"
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def load(folder, **more):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more)


class BlockDiagonal(torch.nn.Module):
    """DiaBlo: y = W x + b + blockdiag(A) x, with A [N', bi, bo] from zero; what sticks out of x or y is padding."""

    def __init__(self, linear, blocks):
        super().__init__()
        self.linear = linear
        bi, bo = math.ceil(linear.in_features / blocks), math.ceil(linear.out_features / blocks)
        n = max(math.ceil(linear.in_features / bi), math.ceil(linear.out_features / bo))
        self.block_A = torch.nn.Parameter(torch.zeros(n, bi, bo))

    def forward(self, x):
        n, bi, _ = self.block_A.shape
        padded = torch.nn.functional.pad(x, (0, n * bi - x.shape[-1])).unflatten(-1, (n, bi))
        blocks = torch.einsum("...ni,nio->...no", padded, self.block_A).flatten(-2)
        return self.linear(x) + blocks[..., :self.linear.out_features]


def adapted(model, case, diablo_dir=None):
    """The model with the trainable parameters of a case; DiaBlo by the official code if its folder is given."""
    if case["method"] == "full":
        return model
    model.requires_grad_(False)
    if case["method"] == "lora":
        return train_oracle.with_lora(torch, peft, numpy, model, case["rank"], case["alpha"])[0]
    if diablo_dir:
        sys.path.insert(0, diablo_dir)
        oracle.module("block_linear").replace_linear_with_blocklinear(model, case["blocks"], 0.0, train_oracle.TARGETS)
        for name, p in model.named_parameters():
            p.requires_grad_(name.endswith("block_A"))
        return model
    for path, layer in list(model.named_modules()):
        parent, _, name = path.rpartition(".")
        if name in train_oracle.TARGETS:
            setattr(model.get_submodule(parent), name, BlockDiagonal(layer, case["blocks"]))
    return model


def batches(seed):
    """Three batches of four sequences of 5 to 20 ids, with prompts of 1 to half their length."""
    random = torch.Generator().manual_seed(seed)
    draw = lambda low, high, n=1: torch.randint(low, high, (n,), generator=random).tolist()
    made = []
    for _ in range(3):
        lengths = draw(5, 21, 4)
        made.append({"ids": [draw(3, 128, n) for n in lengths], "prompt": [draw(1, n // 2 + 1)[0] for n in lengths]})
    return made


def digits(values, n):
    """Rounded to n significant digits."""
    return [digits(v, n) for v in values] if isinstance(values, list) else float(f"{values:.{n}g}")


def logits(model, ids):
    with torch.no_grad():
        return digits(model.eval()(torch.tensor([ids])).logits[0].tolist(), 7)


def greedy(model, ids, new):
    for _ in range(new):
        ids = ids + [max(range(128), key=logits(model, ids)[-1].__getitem__)]
    return ids[-new:]


def golden(name, folder, seed, diablo_dir):
    ids = torch.randint(3, 128, (16,), generator=torch.Generator().manual_seed(seed)).tolist()
    result = {"ids": ids, "logits": logits(load(folder), ids), "greedy": greedy(load(folder), ids[:8], 16)}
    if name == "tiny-llama":
        result["linear"] = {"rope_scaling": LINEAR, "logits": logits(load(folder, config=config(name, scaling=LINEAR)), ids)}
    result["batches"] = batches(seed + 1)
    rows = [train_oracle.collate(torch, list(zip(b["ids"], b["prompt"])), 2) for b in result["batches"]]
    steps = [rows[s % 3] for s in range(STEPS)]
    result["cases"] = {}
    for key, case in CASES.items():
        model = adapted(load(folder), case)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        loss, norm = train_oracle.train(torch, model, steps, case["lr"])
        result["cases"][key] = dict(case, trainable=trainable, loss=digits(loss, 9), grad_norm=digits(norm, 9))
        if case["method"] == "diablo" and diablo_dir:
            official = train_oracle.train(torch, adapted(load(folder), case, diablo_dir), steps, case["lr"])
            off = difference([list(x) for x in official], [loss, norm])
            assert off < 1e-5, f"{name} {key}: {off:.1e} away from the official DiaBlo"
    return result


def difference(a, b):
    """The largest relative difference of two nested values' numbers."""
    if isinstance(a, dict):
        return max(difference(a[k], b[k]) for k in a) if a.keys() == b.keys() else math.inf
    if isinstance(a, list):
        return max(map(difference, a, b), default=0.0) if len(a) == len(b) else math.inf
    if isinstance(a, str):
        return 0.0 if a == b else math.inf
    return abs(a - b) / max(1.0, abs(b))


def main():
    parser = oracle.arguments(__doc__, "diablo")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    wrong = False
    for seed, name in enumerate(["tiny-llama", "tiny-qwen2", "tiny-rope3"]):
        folder = oracle.HERE / name
        if not options.check:
            model = new_model(name, 100 * seed)
            save(model, name, folder)
            ids = list(range(3, 100))
            assert logits(load(folder), ids) == logits(model, ids), "what was saved is another model"
            if name == "tiny-rope3":
                plain = {"rope_type": "default", "rope_theta": 10000.0}
                model.config.rope_parameters = plain
                unscaled = transformers.LlamaForCausalLM(model.config)
                unscaled.load_state_dict(model.state_dict())
                assert difference(logits(unscaled, ids), logits(model, ids)) > 0.1, "the scaling does nothing"
        made = golden(name, folder, 100 * seed + 1, options.diablo)
        if options.check:
            off = difference(made, json.loads((folder / "golden.json").read_text()))
            wrong |= not off < 1e-4
            print(f"{name}: largest difference {off:.1e}")
            continue
        oracle.write_json(folder / "golden.json", made)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{name}: {sum(p.numel() for p in model.parameters()):,} weights, {size:,} bytes; " + ", ".join(
            f"{k} {c['loss'][0]:.3f} to {c['loss'][-1]:.3f}" for k, c in made["cases"].items()))
    sys.exit(wrong)


main()
