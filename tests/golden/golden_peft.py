# SPDX-License-Identifier: Apache-2.0
"""Writes peft-lora/: an adapter of HF PEFT for tiny-llama as PEFT saves it, and the logits that PEFT computes with it.

    python golden_peft.py            rewrite the folder
    python golden_peft.py --check    compute the logits again and compare with golden.json (relative 1e-4)

Needs: torch, transformers, peft, safetensors.
"""
import argparse
import json
import shutil
import sys

import oracle

torch, transformers, peft = (oracle.module(name) for name in ("torch", "transformers", "peft"))
FOLDER = oracle.HERE / "peft-lora"
IDS = [5, 77, 101, 3]
CONFIG = dict(r=3, lora_alpha=5, lora_dropout=0.25, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")


def base():
    return transformers.AutoModelForCausalLM.from_pretrained(oracle.HERE / "tiny-llama", dtype=torch.float32)


def write():
    model = peft.get_peft_model(base(), peft.LoraConfig(**CONFIG))
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=random))
    shutil.rmtree(FOLDER, ignore_errors=True)
    model.save_pretrained(FOLDER)
    (FOLDER / "README.md").unlink()
    (FOLDER / "adapter_model.safetensors").chmod(0o644)
    path = FOLDER / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = "tiny-llama"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def logits():
    model = peft.PeftModel.from_pretrained(base(), FOLDER).eval()
    with torch.no_grad():
        rows = model(torch.tensor([IDS])).logits[0]
        plain = base()(torch.tensor([IDS])).logits[0]
    assert (rows - plain).abs().max() > 0.1, "the adapter does nothing"
    return [[float(f"{v:.7g}") for v in row] for row in rows.tolist()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        write()
        oracle.write_json(FOLDER / "golden.json", {"ids": IDS, "logits": logits()})
        return
    want = json.loads((FOLDER / "golden.json").read_text())["logits"]
    off = max(abs(a - b) / max(1.0, abs(b)) for x, y in zip(logits(), want) for a, b in zip(x, y))
    print(f"peft-lora: largest difference {off:.1e}")
    sys.exit(not off < 1e-4)


main()
